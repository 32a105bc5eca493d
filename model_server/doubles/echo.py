"""`echo`: a turn-based engine that says what it got, with the person's own sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from model_server.doubles.composition import Composition, echo, silent, tones
from model_server.doubles.memory import CONTEXT, Entry, Memory, tokens_of
from model_server.engine import (
    Chunk,
    Engine,
    EngineBusy,
    EngineSession,
    Finished,
    Kept,
    Mark,
    TranscriptChunk,
)
from model_server.items import check_config, check_item
from model_server.protocol import Capabilities, GenerateOptions, Item, SessionConfig, Usage

MAX_SESSIONS = 64

CAPABILITIES = Capabilities(
    engine="echo",
    model="echo",
    turn_taking="turn_based",
    scripted=True,
    notice="This is an echo, no assistant: it says what it got and plays your own voice back.",
    languages=("en", "de", "fr", "es"),
    tasks=("echo",),
    transcription=True,
    word_marks=True,
    suggestions=("Say anything.", "Show me a picture.", "How many pictures have you seen?"),
)


@dataclass(frozen=True, slots=True)
class MemoryMark(Mark):
    """The memory at one moment."""

    memory: Memory


def describe(turn: tuple[Entry, ...]) -> str:
    """What was given since the last reply, in words."""
    seconds = sum(entry.audio_ms for entry in turn) / 1000
    pictures = sum(entry.pictures for entry in turn)
    typed = " and ".join(entry.text for entry in turn if entry.kind == "user")
    said = f"I heard {seconds:.2f} seconds and saw {pictures} picture{'' if pictures == 1 else 's'}"
    return f"{said}; you typed {typed}" if typed else said


def compose(memory: Memory, config: SessionConfig, options: GenerateOptions) -> Composition:
    """The reply to everything in `memory`: the digest at its end changes with each byte that was ever written."""
    if options.say is not None:
        return tones(options.say) if config.speech else silent(options.say)
    text = f"{describe(memory.turn)}. My memory is {memory.digest(config, options.instructions)}."
    if not config.speech:
        return silent(text)
    return echo(text, b"".join(entry.audio for entry in memory.turn))


class EchoSession(EngineSession):
    """One call; all of its state is one `Memory`."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._memory = Memory()
        self._said: WeakKeyDictionary[Memory, Composition] = WeakKeyDictionary()
        self._replying = False

    @property
    def kv_length(self) -> int:
        return self._memory.positions

    @property
    def evicted_items(self) -> int:
        return self._memory.evicted

    async def update(self, config: SessionConfig) -> None:
        check_config(config, CAPABILITIES)
        self._config = config

    async def streaming_prefill(self, item: Item) -> None:
        if self._replying:
            raise EngineBusy("a reply is being given: write the item after it")
        check_item(item)
        self._memory = self._memory.with_item(item)

    async def append(self, role: str, text: str, engine_tokens: bytes) -> None:
        self._memory = self._memory.with_history(role, text, engine_tokens)

    def mark(self) -> Mark:
        return MemoryMark(self._memory)

    async def rollback(self, mark: Mark) -> None:
        assert isinstance(mark, MemoryMark)
        self._memory = mark.memory

    async def streaming_generate(self, options: GenerateOptions) -> AsyncGenerator[Chunk, None]:
        before = self._memory
        reply = compose(before, self._config, options)
        self._said[before] = reply.without_speech()
        self._replying = True
        try:
            if self._config.transcribe and any(entry.audio_ms for entry in before.turn):
                yield TranscriptChunk(describe(before.turn))
            for chunk in reply.chunks():
                yield chunk
                await asyncio.sleep(0)
            self._memory = before.with_reply(reply.text)
        finally:
            self._replying = False
        yield finished(before, reply)

    async def keep_heard(self, before: Mark, keep_ms: int) -> Kept:
        assert isinstance(before, MemoryMark)
        said = self._said.get(before.memory)
        text = said.heard(keep_ms) if said else ""
        self._memory = before.memory.with_reply(text) if text else before.memory
        return Kept(text, tokens_of(text) if text else b"")

    async def aclose(self) -> None:
        self._memory = Memory()
        self._said.clear()


def finished(before: Memory, reply: Composition) -> Finished:
    """The end of a reply that was said in full."""
    usage = Usage(input_tokens=before.positions, output_tokens=before.with_reply(reply.text).positions)
    return Finished(usage=usage, engine_tokens=tokens_of(reply.text))


class EchoEngine(Engine):
    """Serves echo sessions; needs nothing."""

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def context(self) -> int:
        return CONTEXT

    @property
    def max_sessions(self) -> int:
        return MAX_SESSIONS

    @property
    def spare(self) -> bool:
        return True

    async def start(self) -> None:
        return

    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        check_config(config, CAPABILITIES)
        return EchoSession(config)

    async def aclose(self) -> None:
        return
