"""That sessions of one engine do not touch each other, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

from model_server.engine import Engine, EngineSession
from model_server.protocol import GenerateOptions
from tests.model_server.conformance_talk import EngineRules, NewTalk, Talk, next_outputs

SESSIONS = 8
"""That come and go; what one of them leaves behind, all leave."""


class CrowdRules(EngineRules):
    """Many sessions at once."""

    async def test_eight_interleaved_sessions_do_not_touch_each_other(self, new_talk: NewTalk) -> None:
        rotations = [[*self.case.turns[k % 4 :], *self.case.turns[: k % 4]][: 4 - k // 4] for k in range(8)]
        alone = [await next_outputs(await new_talk(), turns) for turns in rotations]
        talks = [await new_talk() for _ in rotations]
        together = await asyncio.gather(
            *(next_outputs(talk, turns) for talk, turns in zip(talks, rotations, strict=True))
        )
        assert together == alone

    async def test_a_paused_reply_holds_nobody_up(self, native: bool, new_talk: NewTalk) -> None:
        paused, other, control = await new_talk(), await new_talk(), await new_talk()
        full = await control.turn(self.case.turns[0])
        await paused.write(self.case.turns[0])
        if native:
            _, begun = await paused.reply_until(1)
            assert await other.turn(self.case.turns[0]) == full
            assert begun == full[:1]
            return
        generator = paused.session.streaming_generate(GenerateOptions())
        begun = [paused.steady(await anext(generator))]
        assert await other.turn(self.case.turns[0]) == full
        rest = [paused.steady(chunk) async for chunk in generator]
        assert [*begun, *rest] == full

    async def test_closed_sessions_leave_nothing(self, engine: Engine, native: bool, new_talk: NewTalk) -> None:
        await new_talk()
        tasks, threads = len(asyncio.all_tasks()), threading.active_count()
        sessions = [await self._passed(engine, native, number) for number in range(SESSIONS)]
        for _ in range(5):  # The loop closes what the collector finds.
            gc.collect()
            await asyncio.sleep(0)
        assert [session() for session in sessions] == [None] * SESSIONS
        assert len(asyncio.all_tasks()) <= tasks
        assert threading.active_count() <= threads

    async def _passed(self, engine: Engine, native: bool, number: int) -> weakref.ref[EngineSession]:
        """A session that came, was answered in part, and went."""
        session = await engine.open_session(f"passing-{number}", self.case.config)
        talk = Talk(session, native, self.case)
        await talk.write(self.case.opening or self.case.turns[0])
        await talk.reply_until(2)
        await session.aclose()
        await session.aclose()
        return weakref.ref(session)

    async def test_an_engine_closes_twice(self, new_talk: NewTalk, engine: Engine) -> None:
        await new_talk()
        await engine.aclose()
        await engine.aclose()
