"""So many calls for so long, on an engine that has started."""

from __future__ import annotations

import asyncio
import random
import time

import psutil

from model_server.engine import EngineSession
from model_server.minicpmo.loading import devices
from model_server.minicpmo.serving.engine import MiniCPMOEngine
from model_server.protocol import SessionConfig
from tests.bench.calls.caller import Caller, Ending
from tests.bench.calls.device_time import DeviceTime, Spent
from tests.bench.calls.figures import Figures, Result
from tests.bench.calls.load import Load

SENTENCE = "The name is one, and you are not three, it is for the self and all that was said before. "
MOST_SENTENCES = 32
"""Of one message of the history that fills a context."""


class Bench:
    """Trials on one engine."""

    def __init__(self, engine: MiniCPMOEngine, *, exact: bool = False) -> None:
        """`exact`: wait for the device behind every pass, so that each kind's time is its own."""
        assert engine._loaded is not None, "the engine has started"
        device = engine._loaded.model.language.embedding.device
        wait = (lambda: devices.synchronise(device)) if exact else lambda: None
        self._engine, self._device = engine, device
        self._time = DeviceTime(engine._device.batcher, wait)

    async def trial(self, load: Load, *, give_up: bool = False) -> Result:
        """Run it. With `give_up` it ends soon after the first deadline that is missed."""
        before = self._used()
        sessions = [await self._open(load, number) for number in range(load.calls)]
        try:
            return await self._run(load, sessions, before, give_up)
        finally:
            for session in sessions:
                await session.aclose()

    async def _open(self, load: Load, number: int) -> EngineSession:
        config = SessionConfig(seed=load.seed + number, transcribe=False)
        session = await self._engine.open_session(f"call-{number}", config)
        share = random.Random(load.seed + number).uniform(0.75, 1.0)
        await fill(session, int(share * load.context))
        return session

    async def _run(self, load: Load, sessions: list[EngineSession], before: int, give_up: bool) -> Result:
        figures, spent = Figures(), Spent(self._time, self._engine.statistics)
        begin = time.monotonic()
        ending = Ending(begin + load.seconds)
        async with asyncio.TaskGroup() as group:
            for number, session in enumerate(sessions):
                caller = Caller(session, load, figures, ending, load.seed + number)
                group.create_task(caller.run(begin))
            if give_up:
                group.create_task(_give_up(figures, ending))
        seconds, memory = time.monotonic() - begin, self._used() - before
        return Result(load.calls, seconds, figures, spent.busy, spent.processor_s, spent.kinds, spent.rows, memory)

    def _used(self) -> int:
        """Bytes in use: of the card, or of this process."""
        if self._device.type == "cpu":
            return int(psutil.Process().memory_info().rss)
        found = devices.memory(self._device)
        return found.total - found.free


async def fill(session: EngineSession, positions: int) -> None:
    """Give a session a history of about so many positions."""
    role, start = "user", session.kv_length
    if positions <= start:
        return
    await session.append(role, SENTENCE, b"")
    each = session.kv_length - start
    while (sentences := (positions - session.kv_length) // each) > 0:
        role = "user" if role == "assistant" else "assistant"
        await session.append(role, SENTENCE * min(sentences, MOST_SENTENCES), b"")


async def _give_up(figures: Figures, ending: Ending) -> None:
    while time.monotonic() < ending.at:
        if figures.missed:
            ending.at = time.monotonic()
        await asyncio.sleep(0.1)
