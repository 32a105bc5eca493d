"""`native`: a scripted full-duplex engine. It takes every unit, starts to speak by itself, and never yields.

It says hello after the first unit and answers when a voiced unit is followed by an unvoiced one, or is the last of a
turn. A turn that ends while it speaks is answered with the next unit after it has finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import msgspec

from model_server.doubles.composition import Composition, silent, tones
from model_server.doubles.echo import CAPABILITIES as ECHO_CAPABILITIES
from model_server.doubles.echo import compose, finished
from model_server.doubles.memory import CONTEXT, Memory, tokens_of
from model_server.engine import (
    Chunk,
    Engine,
    EngineBusy,
    EngineSession,
    Kept,
    Mark,
    NativeChunk,
)
from model_server.items import check_config, check_item
from model_server.protocol import Capabilities, GenerateOptions, Item, SessionConfig, Unit

MAX_SESSIONS = 64
HELLO = "Hello. I listen while I speak."

CAPABILITIES: Capabilities = msgspec.structs.replace(
    ECHO_CAPABILITIES,
    engine="native",
    model="native",
    turn_taking="native",
    transcription=False,
    notice="This is a scripted full-duplex stand-in, no assistant: it says what it got and never stops by itself.",
)


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """A response under way: `step` is its next chunk. `own`: begun by the engine itself."""

    response_id: str
    chunks: tuple[Chunk, ...]
    before: State
    own: bool
    step: int = 0


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class State:
    """Everything a later step depends on. `owes`: a turn has ended and is not answered yet."""

    memory: Memory
    items: int = 0
    greeted: bool = False
    hearing: bool = False
    owes: bool = False
    speech: Speech | None = None

    def with_item(self, item: Item) -> State:
        """One more item heard."""
        heard = replace(self, memory=self.memory.with_item(item), items=self.items + 1)
        if not isinstance(item, Unit):
            return heard
        ended = (item.voiced and item.last) or (self.hearing and not item.voiced)
        return replace(heard, hearing=item.voiced and not item.last, owes=self.owes or ended)


@dataclass(frozen=True, slots=True)
class StateMark(Mark):
    """The state at one moment."""

    state: State


class NativeSession(EngineSession):
    """One call; all of its state is one `State`, replaced by whoever comes: a unit, or the pull of a chunk."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._state = State(Memory())
        self._said: WeakKeyDictionary[State, Composition] = WeakKeyDictionary()
        self._responses = 0
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def kv_length(self) -> int:
        return self._state.memory.positions

    @property
    def evicted_items(self) -> int:
        return self._state.memory.evicted

    async def update(self, config: SessionConfig) -> None:
        check_config(config, CAPABILITIES)
        self._config = config

    async def streaming_prefill(self, item: Item) -> None:
        check_item(item)
        self._become(self._state.with_item(item))
        if self._state.speech is None and isinstance(item, Unit):
            self._speak_up()

    async def append(self, role: str, text: str, engine_tokens: bytes) -> None:
        memory = self._state.memory.with_history(role, text, engine_tokens)
        self._become(replace(self._state, memory=memory, items=self._state.items + 1, owes=False))

    def mark(self) -> Mark:
        return StateMark(self._state)

    async def rollback(self, mark: Mark) -> None:
        assert isinstance(mark, StateMark)
        self._become(mark.state)

    async def keep_heard(self, before: Mark, keep_ms: int) -> Kept:
        assert isinstance(before, StateMark)
        said = self._said.get(before.state)
        text = said.heard(keep_ms) if said else ""
        memory = before.state.memory.with_reply(text) if text else before.state.memory
        self._become(replace(before.state, memory=memory, greeted=True, hearing=not text, owes=False))
        return Kept(text, tokens_of(text) if text else b"")

    async def streaming_generate(self, options: GenerateOptions) -> AsyncGenerator[Chunk, None]:
        if self._state.speech is not None:
            raise EngineBusy("the engine has begun to speak by itself: cancel that response first")
        response_id = self._begin(compose(self._state.memory, self._config, options), own=False)
        try:
            while (chunk := self._advance(response_id)) is not None:
                yield chunk
                await asyncio.sleep(0)
        finally:
            if self._speaks(response_id):
                self._become(replace(self._state, speech=None))

    async def native_output(self) -> AsyncGenerator[NativeChunk, None]:
        while not self._closed:
            speech = self._state.speech
            if speech is None or not speech.own:
                self._changed.clear()
                await self._changed.wait()
            elif (chunk := self._advance(speech.response_id)) is not None:
                before = StateMark(speech.before) if speech.step == 0 else None
                yield NativeChunk(speech.response_id, chunk, before, speech.before.items)
                await asyncio.sleep(0)

    async def aclose(self) -> None:
        self._closed = True
        self._said.clear()
        self._become(State(Memory()))

    def _speak_up(self) -> None:
        if not self._state.greeted:
            self._begin(tones(HELLO) if self._config.speech else silent(HELLO), own=True)
        elif self._state.owes:
            self._begin(compose(self._state.memory, self._config, GenerateOptions()), own=True)

    def _begin(self, reply: Composition, *, own: bool) -> str:
        before = self._state
        self._said[before] = reply.without_speech()
        self._responses += 1
        chunks = (*reply.chunks(), finished(before.memory, reply))
        speech = Speech(f"native_{self._responses}", chunks, before, own)
        memory = before.memory.with_reply(reply.text)
        self._become(replace(before, memory=memory, greeted=True, owes=False, speech=speech))
        return speech.response_id

    def _advance(self, response_id: str) -> Chunk | None:
        """The next chunk of the response, None when it is over or was undone."""
        speech = self._state.speech
        if speech is None or speech.response_id != response_id:
            return None
        rest = replace(speech, step=speech.step + 1)
        self._become(replace(self._state, speech=rest if rest.step < len(rest.chunks) else None))
        return speech.chunks[speech.step]

    def _speaks(self, response_id: str) -> bool:
        return self._state.speech is not None and self._state.speech.response_id == response_id

    def _become(self, state: State) -> None:
        self._state = state
        self._changed.set()


class NativeEngine(Engine):
    """Serves native sessions; needs nothing."""

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def context(self) -> int:
        return CONTEXT

    @property
    def max_sessions(self) -> int:
        return MAX_SESSIONS

    async def start(self) -> None:
        return

    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        check_config(config, CAPABILITIES)
        return NativeSession(config)

    async def aclose(self) -> None:
        return
