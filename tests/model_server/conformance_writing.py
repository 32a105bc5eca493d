"""What every engine does with items and settings: all or nothing."""

from __future__ import annotations

import msgspec
import pytest

from model_server.engine import ConfigRejected, Engine, EngineBusy, ItemRejected
from model_server.protocol import GenerateOptions
from tests.model_server.conformance_talk import EngineRules, NewTalk, next_outputs


class WritingRules(EngineRules):
    """Items and settings."""

    async def test_rejected_items_change_nothing(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.turn(self.case.turns[0])
            await talk.write(self.case.turns[1][:1])
        for item in self.case.rejected:
            length = subject.session.kv_length
            with pytest.raises(ItemRejected, match=r"\w"):
                await subject.session.streaming_prefill(item)
            assert subject.session.kv_length == length
        for talk in (subject, control):
            await talk.write(self.case.turns[1][1:])
        assert await subject.reply() == await control.reply()
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_every_item_grows_the_context(self, new_talk: NewTalk) -> None:
        talk = await new_talk()
        for item in self.case.turns[0]:
            length = talk.session.kv_length
            await talk.session.streaming_prefill(item)
            assert talk.session.kv_length > length
        assert talk.session.evicted_items == 0

    async def test_a_reply_keeps_units_out_or_takes_them(self, native: bool, new_talk: NewTalk) -> None:
        talk = await new_talk()
        await talk.write(self.case.turns[0])
        if native:
            await talk.reply_until(1)
            await talk.session.streaming_prefill(self.case.turns[1][0])
            return
        generator = talk.session.streaming_generate(GenerateOptions())
        await anext(generator)
        length = talk.session.kv_length
        with pytest.raises(EngineBusy):
            await talk.session.streaming_prefill(self.case.turns[1][0])
        assert talk.session.kv_length == length
        await generator.aclose()

    async def test_update_takes_all_or_nothing(self, engine: Engine, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        bad = msgspec.structs.replace(self.case.config, speech=False, mode="no such mode", instructions="Be brief.")
        with pytest.raises(ConfigRejected, match="no such mode"):
            await subject.session.update(bad)
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)
        with pytest.raises(ConfigRejected):
            await engine.open_session("refused", bad)
