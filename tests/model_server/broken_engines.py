"""Engines that break in one way each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from model_server.doubles.echo import EchoEngine, EchoSession
from model_server.engine import (
    Chunk,
    EngineFailed,
    EngineSession,
    ItemRejected,
    Kept,
    Mark,
    SpeechChunk,
    TextChunk,
)
from model_server.protocol import GenerateOptions, Item, SessionConfig

SECRET = "what the person said"


class BrokenSession(EchoSession):
    """Breaks where `how` says."""

    def __init__(self, config: SessionConfig, how: str, stuck: asyncio.Event) -> None:
        super().__init__(config)
        self.how = how
        self.stuck = stuck
        self.closed = False

    async def streaming_prefill(self, item: Item) -> None:
        if self.how == "prefill fails":
            raise EngineFailed(SECRET)
        if self.how == "prefill breaks":
            raise ZeroDivisionError(SECRET)
        if self.how == "prefill hangs":
            await self.stuck.wait()
        await super().streaming_prefill(item)

    async def streaming_generate(self, options: GenerateOptions) -> AsyncGenerator[Chunk, None]:
        yield TextChunk("One ")
        match self.how:
            case "generate fails":
                raise EngineFailed(SECRET)
            case "generate breaks":
                raise ZeroDivisionError(SECRET)
            case "generate hangs":
                await self.stuck.wait()
            case "generate rejects":
                raise ItemRejected("this cannot be said: say something else")
            case "odd speech":
                yield SpeechChunk(b"\0\0\0", (0, 1))
            case "long speech":
                yield SpeechChunk(bytes(2 * 24_001), (0, 1))
            case "span beyond the text":
                yield SpeechChunk(bytes(480), (0, 100))

    async def aclose(self) -> None:
        self.closed = True
        await super().aclose()


class JealousSession(EchoSession):
    """Takes its time over every call and breaks when another one comes meanwhile."""

    def __init__(self, config: SessionConfig) -> None:
        super().__init__(config)
        self._in_use = False

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        if self._in_use:
            raise EngineFailed("two calls at once")
        self._in_use = True
        for _ in range(5):
            await asyncio.sleep(0)
        self._in_use = False
        yield

    async def update(self, config: SessionConfig) -> None:
        async with self._alone():
            await super().update(config)

    async def streaming_prefill(self, item: Item) -> None:
        async with self._alone():
            await super().streaming_prefill(item)

    async def rollback(self, mark: Mark) -> None:
        async with self._alone():
            await super().rollback(mark)

    async def keep_heard(self, before: Mark, keep_ms: int) -> Kept:
        async with self._alone():
            return await super().keep_heard(before, keep_ms)

    async def streaming_generate(self, options: GenerateOptions) -> AsyncGenerator[Chunk, None]:
        try:
            async with aclosing(super().streaming_generate(options)) as chunks:
                async for chunk in chunks:
                    async with self._alone():
                        pass
                    yield chunk
        finally:
            async with self._alone():
                pass


class JealousEngine(EchoEngine):
    """An engine whose sessions want their calls one at a time."""

    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        return JealousSession(config)


class BrokenEngine(EchoEngine):
    """An engine whose sessions break. `release` ends what hangs."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.release = asyncio.Event()
        self.opened: list[BrokenSession] = []

    async def start(self) -> None:
        if self.how == "start fails":
            raise EngineFailed("the weights\nare missing")
        if self.how == "start hangs":
            await self.release.wait()

    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        if self.how == "open breaks":
            raise ZeroDivisionError(SECRET)
        if self.how == "open waits":
            await self.release.wait()
        session = BrokenSession(config, self.how, self.release)
        self.opened.append(session)
        return session
