"""What every engine must do when it is asked through the session socket, by way of the runner."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from model_server.protocol import (
    Busy,
    Cancel,
    Cancelled,
    Done,
    Error,
    Open,
    Opened,
    Played,
    Prefill,
    Prefilled,
    Rollback,
    RolledBack,
    Speech,
    Started,
    Text,
    Unit,
    Update,
    Updated,
)
from tests.model_server.conformance import EngineCase
from tests.model_server.wire import Gateway, Server, end_ms, of_response, serve, words_of

AHEAD_MS = 400


class SocketConformance:
    """The rules for turn-based engines; `case` says for which. Replies must be longer than `AHEAD_MS` and a second."""

    case: EngineCase

    @pytest.fixture
    async def server(self) -> AsyncIterator[Server]:
        async with serve(self.case.create(), speech_ahead_ms=AHEAD_MS) as server:
            yield server

    async def _written(self, server: Server, session_id: str) -> tuple[Gateway, int]:
        gateway = await server.open(session_id, config=self.case.config)
        return gateway, await gateway.write(1, *self.case.turns[0])

    async def _hear_with_credit(self, gateway: Gateway, response_id: str) -> None:
        message = await gateway.hear()
        if isinstance(message, Speech):
            await gateway.say(Played(response_id=response_id, ms=end_ms(message)))

    async def test_speech_runs_ahead_only_on_credit(self, server: Server) -> None:
        gateway, seq = await self._written(server, "call")
        await gateway.generate("r1", seq)
        played = 0
        while not any(isinstance(message, Done) for message in await gateway.barrier(self.case.config)):
            made = max(end_ms(message) for message in gateway.heard if isinstance(message, Speech))
            assert made - played >= AHEAD_MS, "the engine waits although it has credit"
            assert made - played < AHEAD_MS + 1_000, "the engine ran too far ahead"
            assert await gateway.barrier(self.case.config) == []
            played = made - 100
            await gateway.say(Played(response_id="r1", ms=played))
        assert played > 0, "the reply is too short for this test"

    async def test_credit_from_the_future_counts_as_all_that_was_made(self, server: Server) -> None:
        gateway, seq = await self._written(server, "call")
        await gateway.generate("r1", seq)
        await gateway.barrier(self.case.config)
        made = max(end_ms(message) for message in gateway.heard if isinstance(message, Speech))
        await gateway.say(Played(response_id="r1", ms=1_000_000))
        await gateway.say(Played(response_id="nobody", ms=1_000_000))
        await gateway.barrier(self.case.config)
        later = max(end_ms(message) for message in gateway.heard if isinstance(message, Speech))
        assert made < later < made + AHEAD_MS + 1_000

    async def test_nothing_of_a_response_follows_its_cancel(self, server: Server) -> None:
        for count in range(1, 8):
            gateway, seq = await self._written(server, f"call-{count}")
            await gateway.generate("r1", seq)
            for _ in range(count):
                await self._hear_with_credit(gateway, "r1")
            await gateway.say(Cancel(response_id="r1", keep_ms=0))
            answer = await gateway.until(Cancelled)
            assert (answer.kept_text, answer.last_seq) == ("", seq)
            seq = await gateway.write(seq + 1, *self.case.turns[1])
            await gateway.reply("r2", seq)
            rest = gateway.heard[gateway.heard.index(answer) + 1 :]
            assert of_response(rest, "r1") == []

    async def test_cancel_before_the_first_chunk(self, server: Server) -> None:
        subject, seq = await self._written(server, "subject")
        control, _ = await self._written(server, "control")
        await subject.say(Cancel(response_id="r1"))
        assert (await subject.until(Error)).code == "unknown_response"
        for number in range(5):
            await subject.generate(f"r{number}", seq)
            await subject.say(Cancel(response_id=f"r{number}"))
            await subject.until(Cancelled)
        assert words_of(await subject.reply("last", seq)) == words_of(await control.reply("last", seq))

    async def test_a_cut_keeps_no_more_than_was_given(self, server: Server) -> None:
        gateway, seq = await self._written(server, "call")
        await gateway.generate("r1", seq)
        await gateway.say(Cancel(response_id="r1", keep_ms=60_000))
        answer = await gateway.until(Cancelled)
        assert words_of(gateway.heard).startswith(answer.kept_text)
        await gateway.generate("r2", seq)
        await gateway.barrier(self.case.config)
        answer = await gateway.ask(Cancel(response_id="r2", keep_ms=60_000), Cancelled)
        given = words_of(of_response(gateway.heard, "r2"))
        assert 0 < len(answer.kept_text) <= len(given)
        assert given.startswith(answer.kept_text)

    async def test_a_response_can_be_cut_after_it_is_done(self, server: Server) -> None:
        subject, seq = await self._written(server, "subject")
        control, _ = await self._written(server, "control")
        full = words_of(await subject.reply("r1", seq))
        await subject.write(seq + 1, *self.case.turns[1])
        answer = await subject.ask(Cancel(response_id="r1", keep_ms=700), Cancelled)
        assert full.startswith(answer.kept_text)
        assert answer.last_seq == seq, "items written after the response are undone with it"
        await control.reply("r1", seq)
        assert await control.ask(Cancel(response_id="r1", keep_ms=700), Cancelled) == answer
        again = await subject.ask(Cancel(response_id="r1", keep_ms=700), Error)
        assert again.code == "unknown_response"
        assert again.response_id == "r1"
        texts = [
            words_of(await each.reply("r2", await each.write(seq + 1, *self.case.turns[2])))
            for each in (subject, control)
        ]
        assert texts[0] == texts[1]

    async def test_units_are_busy_while_a_reply_is_given(self, server: Server) -> None:
        gateway, seq = await self._written(server, "call")
        await gateway.generate("r1", seq)
        await gateway.barrier(self.case.config)
        unit = self.case.turns[1][0]
        assert (await gateway.ask(Prefill(seq=seq + 1, item=unit), Busy)).seq == seq + 1
        assert (await gateway.ask(Prefill(seq=seq + 2, item=unit), Busy)).seq == seq + 2
        assert (await gateway.ask(Prefill(seq=seq, item=unit), Error)).code == "stale_seq"
        assert (await gateway.ask(Rollback(to_seq=0), Error)).code == "response_in_progress"
        await gateway.ask(Cancel(response_id="r1"), Cancelled)
        await gateway.ask(Prefill(seq=seq + 1, item=unit), Prefilled)

    async def test_speculative_replies_leave_no_trace(self, server: Server) -> None:
        subject, seq = await self._written(server, "subject")
        control, _ = await self._written(server, "control")
        for gateway in (subject, control):
            await gateway.reply("first", seq)
        for number in range(10):
            last = await subject.write(seq + 1, *self.case.turns[1])
            await subject.generate(f"r{number}", last, speculative=True)
            for _ in range(number % 4):
                await self._hear_with_credit(subject, f"r{number}")
            await subject.say(Cancel(response_id=f"r{number}", discard=True, rollback_to_seq=seq))
            answer = await subject.until(Cancelled)
            assert (answer.kept_text, answer.last_seq) == ("", seq)
        texts = []
        for gateway in (subject, control):
            last = await gateway.write(seq + 1, *self.case.turns[2])
            texts.append(words_of(await gateway.reply("last", last)))
        assert texts[0] == texts[1]

    async def test_rollback_undoes_items_and_keeps_the_reply_before_them(self, server: Server) -> None:
        subject, seq = await self._written(server, "subject")
        control, _ = await self._written(server, "control")
        for gateway in (subject, control):
            await gateway.reply("r1", seq)
        last = await subject.write(seq + 1, *self.case.turns[1])
        await subject.reply("r2", last)
        answer = await subject.ask(Rollback(to_seq=seq), RolledBack)
        assert answer.last_seq == seq
        texts = []
        for gateway in (subject, control):
            last = await gateway.write(seq + 1, *self.case.turns[2])
            texts.append(words_of(await gateway.reply("r3", last)))
        assert texts[0] == texts[1]

    async def test_a_lost_socket_cuts_the_reply_where_it_was_heard(self, server: Server) -> None:
        for heard in (None, Played(response_id="r1", ms=600)):
            name = "told" if heard else "credited"
            subject, control = await server.connect(f"subject-{name}"), await server.connect(f"control-{name}")
            opened = await subject.open(config=self.case.config)
            await control.open(config=self.case.config)
            for gateway in (subject, control):
                seq = await gateway.write(1, *self.case.turns[0])
                await gateway.generate("r1", seq)
                await gateway.until(Speech, lambda speech: end_ms(speech) >= 300)
                await gateway.say(Played(response_id="r1", ms=300))
                await gateway.barrier(self.case.config)
            await subject.peer.drop()
            resumed = await server.connect(f"subject-{name}")
            await resumed.say(Open(resume=opened.resume_token, heard=heard))
            answer = await resumed.until(Opened)
            assert answer.resumed
            assert answer.last_seq == seq
            assert answer.resume_token != opened.resume_token
            cut = await resumed.until(Cancelled)
            kept_ms = 300 if heard is None else 600
            expected = await control.ask(Cancel(response_id="r1", keep_ms=kept_ms), Cancelled)
            assert cut == expected
            texts = []
            for gateway in (resumed, control):
                last = await gateway.write(seq + 1, *self.case.turns[1])
                texts.append(words_of(await gateway.reply("r2", last)))
            assert texts[0] == texts[1]

    async def test_settings_change_while_a_reply_is_given(self, server: Server) -> None:
        gateway, seq = await self._written(server, "call")
        await gateway.generate("r1", seq)
        await gateway.until(Text)
        silent = msgspec.structs.replace(self.case.config, speech=False)
        await gateway.say(Update(config=silent))
        assert (await gateway.until(Updated)).applied == silent
        await gateway.hear_out("r1")
        speech = [message for message in gateway.heard if isinstance(message, Speech)]
        assert speech, "the reply under way keeps its settings"
        last = await gateway.write(seq + 1, *self.case.turns[1])
        assert not any(isinstance(message, Speech) for message in await gateway.reply("r2", last))

    async def test_a_bad_item_changes_nothing(self, server: Server) -> None:
        gateway, seq = await self._written(server, "call")
        for item in (*self.case.rejected, Unit(audio=b"\0" * 31_999)):
            error = await gateway.ask(Prefill(seq=seq + 1, item=item), Error)
            assert (error.code, error.seq) == ("invalid_item", seq + 1)
        control, _ = await self._written(server, "control")
        assert words_of(await gateway.reply("r1", seq)) == words_of(await control.reply("r1", seq))

    async def test_started_comes_first_and_done_last(self, server: Server) -> None:
        gateway, seq = await self._written(server, "call")
        messages = of_response(await gateway.reply("r1", seq), "r1")
        assert isinstance(messages[0], Started)
        assert isinstance(messages[-1], Done)
        assert messages[-1].usage.audio_ms == max(end_ms(each) for each in messages if isinstance(each, Speech))
        texts = [each for each in messages if isinstance(each, Text)]
        assert [each.start for each in texts] == [len(words_of(texts[:k])) for k in range(len(texts))]  # type: ignore[arg-type]
