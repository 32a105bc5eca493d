"""What the conformance rules are asked through: an engine's case, and a talk with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle

import numpy as np
import pytest

from model_server.engine import Chunk, Engine, EngineSession, Finished, Mark, NativeChunk, SpeechChunk, TextChunk
from model_server.protocol import SPEECH_RATE, GenerateOptions, Item, SessionConfig

GUARD_S = 60.0
"""A reply that takes longer hangs; none comes near."""

OUTPUTS = 50
"""How many outputs must be equal before two sessions count as equal, where an engine's case says nothing else."""

Turn = Sequence[Item]


@dataclass(frozen=True)
class EngineCase:
    """An engine under test, and what it needs to be talked with.

    `turns`: at least four, each earns one reply with speech. `opening`: what makes a native engine greet. `rejected`:
    items of valid form that this engine cannot take. `config`: with a fixed seed. `outputs`: as `OUTPUTS`. `rounding`:
    steps of 1/32768 by which a sample may differ where numbers were added in another order.
    An engine whose answers depend on the time of day is made with a clock that stands still.
    """

    create: Callable[[], Engine]
    turns: Sequence[Turn]
    opening: Turn = ()
    rejected: Sequence[Item] = ()
    config: SessionConfig = field(default_factory=lambda: SessionConfig(seed=1))
    outputs: int = OUTPUTS
    rounding: int = 0


@dataclass(frozen=True, eq=False)
class AlmostSpeech(SpeechChunk):
    """Speech that equals another when no sample differs by more than `rounding`."""

    rounding: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpeechChunk) or len(self.pcm) != len(other.pcm):
            return False
        mine, theirs = (np.frombuffer(each.pcm, np.int16).astype(int) for each in (self, other))
        near = int(np.abs(mine - theirs).max(initial=0)) <= self.rounding
        return near and (self.text_span, self.marks) == (other.text_span, other.marks)


class Talk:
    """A session and how to get a reply out of it, whichever way its engine takes turns."""

    def __init__(self, session: EngineSession, native: bool, case: EngineCase) -> None:
        self.session = session
        self.native = native
        self.case = case
        self._output: AsyncGenerator[NativeChunk, None] | None = session.native_output() if native else None

    async def write(self, items: Turn) -> None:
        for item in items:
            await self.session.streaming_prefill(item)

    async def reply(self, options: GenerateOptions | None = None) -> list[Chunk]:
        """The whole reply to what was written."""
        _, chunks = await self.reply_until(None, options)
        return chunks

    async def turn(self, items: Turn) -> list[Chunk]:
        """Write a turn and get the whole reply."""
        await self.write(items)
        return await self.reply()

    async def reply_until(self, count: int | None, options: GenerateOptions | None = None) -> tuple[Mark, list[Chunk]]:
        """The first `count` chunks of the reply (None: all), which then is closed; and the mark before it."""
        async with asyncio.timeout(GUARD_S):
            if self.native and options is None:
                return await self._overhear(count)
            return await self._ask(count, options or GenerateOptions())

    async def _ask(self, count: int | None, options: GenerateOptions) -> tuple[Mark, list[Chunk]]:
        before = self.session.mark()
        chunks: list[Chunk] = []
        generator = self.session.streaming_generate(options)
        while count is None or len(chunks) < count:
            chunk = await anext(generator, None)
            if chunk is None:
                break
            chunks.append(self.steady(chunk))
        await generator.aclose()
        assert await anext(generator, None) is None, "a closed reply goes on"
        return before, chunks

    def steady(self, chunk: Chunk) -> Chunk:
        """The chunk without what depends on the machine's speed, speech equal up to the case's rounding."""
        if isinstance(chunk, SpeechChunk) and self.case.rounding:
            return AlmostSpeech(chunk.pcm, chunk.text_span, chunk.marks, self.case.rounding)
        return replace(chunk, timings={}) if isinstance(chunk, Finished) else chunk

    async def _overhear(self, count: int | None) -> tuple[Mark, list[Chunk]]:
        assert self._output is not None
        first = await anext(self._output)
        assert first.before is not None, "the first chunk of a native response carries the mark before it"
        chunks = [self.steady(first.chunk)]
        while (count is None or len(chunks) < count) and not isinstance(chunks[-1], Finished):
            following = await anext(self._output)
            assert following.response_id == first.response_id, "two native responses interleave"
            chunks.append(self.steady(following.chunk))
        return first.before, chunks


def text_of(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def speech_ms(chunks: Sequence[Chunk]) -> int:
    return sum(len(chunk.pcm) // 2 for chunk in chunks if isinstance(chunk, SpeechChunk)) * 1000 // SPEECH_RATE


def is_cut_at_a_word(kept: str, full: str) -> bool:
    around = full[len(kept) - 1 : len(kept) + 1]
    return kept == full[: len(kept)] and (not kept or re.fullmatch(r"\w\w", around) is None)


async def next_outputs(talk: Talk, turns: Sequence[Turn]) -> list[Chunk]:
    """At least the next `outputs` chunks that the session gives to these turns, again and again."""
    chunks: list[Chunk] = []
    for turn in cycle(turns):
        chunks += await talk.turn(turn)
        if len(chunks) >= talk.case.outputs:
            break
    return chunks


NewTalk = Callable[[], Awaitable[Talk]]


class EngineRules:
    """Rules are classes of this kind; `case` says for which engine."""

    case: EngineCase

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        engine = self.case.create()
        await engine.start()
        yield engine
        await engine.aclose()

    @pytest.fixture
    def native(self, engine: Engine) -> bool:
        return engine.capabilities.turn_taking == "native"

    @pytest.fixture
    async def new_talk(self, engine: Engine, native: bool) -> AsyncIterator[NewTalk]:
        sessions: list[EngineSession] = []

        async def make() -> Talk:
            sessions.append(await engine.open_session(f"session-{len(sessions)}", self.case.config))
            talk = Talk(sessions[-1], native, self.case)
            if self.case.opening:
                await talk.turn(self.case.opening)
            return talk

        yield make
        for session in sessions:
            await session.aclose()
