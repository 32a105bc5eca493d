"""Engines that break in one way each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from model_server.doubles.echo import EchoEngine, EchoSession
from model_server.engine import Chunk, EngineFailed, EngineSession, ItemRejected, SpeechChunk, TextChunk
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
