"""The engine contract: what the session socket needs of anything that hears, sees and speaks.

An `Engine` serves many sessions; all state of a call is in its `EngineSession`. Every engine passes
`tests/model_server/conformance.py`. No engine is imported here: `model_server.registry` finds them by name.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from model_server.protocol import (
    Capabilities,
    GenerateOptions,
    Item,
    SessionConfig,
    Usage,
    WordMark,
)


class EngineError(Exception):
    """Base of what an engine may raise; the session stays as it was before the call."""


class EngineBusy(EngineError):
    """A turn-based engine was given an item in the middle of its own reply."""


class ItemRejected(EngineError):
    """An item the engine cannot take; the message names the limit, what came, and what to do."""


class MarkGone(EngineError):
    """The context has let go of what a mark stood for; the message says so. Nothing changed."""


class ConfigRejected(EngineError):
    """A setting out of range; the message names the field and the range."""


class EngineFailed(EngineError):
    """The engine itself broke; the session cannot go on."""


class EngineUnusable(EngineFailed):
    """The engine can never start as it was asked to: the model, the device or the number format has to change."""


@dataclass(frozen=True, slots=True)
class TextChunk:
    """The next characters of the response."""

    text: str


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """The next speech of the response: PCM16 LE mono 24 kHz, at most one second.

    `text_span` is the span of characters it speaks in the response's text so far, which its `TextChunk`s have already
    given; `marks` are the words' exact times in ms from the response's first sample, where they are known.
    """

    pcm: bytes
    text_span: tuple[int, int]
    marks: tuple[WordMark, ...] = ()


@dataclass(frozen=True, slots=True)
class TranscriptChunk:
    """What the engine understood of the person's turn it now answers; at most one, before `Finished`."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Last chunk of a response that ran to its end."""

    reason: Literal["completed", "length"] = "completed"
    usage: Usage = field(default_factory=Usage)
    timings: dict[str, float] = field(default_factory=dict)
    engine_tokens: bytes = b""
    suggestions: tuple[str, ...] = ()


Chunk = TextChunk | SpeechChunk | TranscriptChunk | Finished


class Mark:
    """Everything a later step depends on, the settings excepted. Opaque; freed when the last reference to it goes."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class NativeChunk:
    """A chunk of a response that a native engine began by itself; the first chunk of a new id starts the response.

    `before` is the mark right before that response began and `items` the number of items (prefill or append) that the
    session had taken by then; only the first chunk needs them. Responses of one session never interleave.
    """

    response_id: str
    chunk: Chunk
    before: Mark | None = None
    items: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays of a reply that was cut: its text, and the tokens that `append` it again exactly (may be empty)."""

    text: str
    engine_tokens: bytes = b""


class EngineSession(ABC):
    """One call's state. Calls never overlap: the session socket awaits one before it makes the next.

    While the iterator of `streaming_generate` is suspended between two chunks, only `update` and (to be answered by
    `EngineBusy`) `streaming_prefill` may be called, before it is closed or exhausted. Native engines differ: their
    `native_output` and their `streaming_generate` run beside every other call, and after `rollback` or `keep_heard`
    give nothing more of a response that these undid.
    """

    @property
    @abstractmethod
    def kv_length(self) -> int:
        """Positions the context holds now, in the engine's own count."""

    @property
    def evicted_items(self) -> int:
        """How many of the session's oldest items (prefill or append) the context no longer holds."""
        return 0

    @abstractmethod
    async def update(self, config: SessionConfig) -> None:
        """Take new settings, all or none, from the next prefill or generate on. Raises `ConfigRejected`.

        Settings are no part of a mark: a rollback leaves them as they are.
        """

    @abstractmethod
    async def streaming_prefill(self, item: Item) -> None:
        """Write a whole item or nothing. Raises `EngineBusy`, `ItemRejected`."""

    @abstractmethod
    async def append(self, role: str, text: str, engine_tokens: bytes) -> None:
        """Write history: `engine_tokens` of an earlier `Finished` exactly, else `text` under `role`."""

    @abstractmethod
    def mark(self) -> Mark:
        """The present state, to return to."""

    @abstractmethod
    async def rollback(self, mark: Mark) -> None:
        """Return to `mark`, exactly: the next 50 outputs equal those of a session that never went further.

        Raises `MarkGone` where the context has let go of what was there (as `keep_heard` does).
        """

    @abstractmethod
    def streaming_generate(self, options: GenerateOptions) -> AsyncGenerator[Chunk, None]:
        """Answer everything written so far; ends with one `Finished`. May be closed at any chunk, or before the first.

        Between two chunks the engine's state is consistent: the caller may take as long as it likes (flow control).
        """

    @abstractmethod
    async def keep_heard(self, before: Mark, keep_ms: int) -> Kept:
        """Undo everything since `before` except what was heard of the response generated from there.

        `before` is the mark taken right before `streaming_generate`, whose iterator is closed or exhausted. The reply
        is cut at the last whole word within `keep_ms` of speech and closed properly; with nothing heard the person's
        turn stays open. `keep_ms` is at most the speech that was given, or any time for a reply given to its end.
        Returns what stays of the reply.
        """

    def heard(self, ms: int) -> None:  # noqa: B027 most engines need no hint
        """The person has heard `ms` of the response under way, so that whose speech runs dry first is served first."""

    @abstractmethod
    async def aclose(self) -> None:
        """Free everything, at once and for good. Safe to call twice."""

    def native_output(self) -> AsyncGenerator[NativeChunk, None]:
        """Responses that a native engine starts by itself, until `aclose`. Turn-based engines have none."""
        raise TypeError(f"{type(self).__name__} is turn based: it has no output of its own accord")


class Engine(ABC):
    """Serves many sessions at once; a slow one never starves another."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    @property
    @abstractmethod
    def context(self) -> int:
        """Positions one session's context can hold."""

    @property
    @abstractmethod
    def max_sessions(self) -> int:
        """How many sessions fit at once, known before one is admitted; until `start` returns, the most there can be."""

    @property
    def spare(self) -> bool:
        """Whether there is room now for work that may be for nothing, at no cost to any session: cheap to ask."""
        return False

    @property
    def speech_ahead_ms(self) -> int:
        """No more is asked of it once so much speech is made ahead of an ear that says what it hears (`heard`)."""
        return 60_000

    @property
    def waits_for(self) -> str:
        """What `start` is busy with, in words for an operator; empty where that is nothing special."""
        return ""

    def statistics(self) -> Mapping[str, float]:
        """What has been done so far, for an operator: counts that only grow, `<kind>.passes`, `<kind>.steps` (the rows
        of these passes), `<kind>.splits` and `busy_seconds`; cheap, and read on any thread. Most have none.
        """
        return {}

    async def broken(self) -> str:
        """Return, in words, why the engine can serve nobody any more, as soon as it cannot. Most never return."""
        await asyncio.Event().wait()
        return ""

    @abstractmethod
    async def start(self) -> None:
        """Load and warm up; the server is unready until this returns. Raises `EngineFailed`, `EngineUnusable`."""

    @abstractmethod
    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        """A fresh session. Raises `ConfigRejected`, `EngineFailed`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stop every process and thread the engine started. Safe to call twice."""
