"""An engine for measuring: says one steady tone, starts at once, and writes the time of its first speech as its text.

A tone has no pauses, so the last sample of a reply that was cut can be seen; its very first sample is loud.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

import numpy as np

from model_server.engine import Chunk, Engine, EngineSession, Finished, Kept, Mark, SpeechChunk, TextChunk
from model_server.protocol import SPEECH_RATE, Capabilities, GenerateOptions, Item, SessionConfig

MAX_SESSIONS = 256
SECONDS = 120
CHUNK = SPEECH_RATE // 5
HERTZ = 400
PEAK = 9_000


def tone(samples: int) -> bytes:
    """PCM16 at 24 kHz from the crest of the wave; a whole number of periods when `samples` is a multiple of 60."""
    time_s = np.arange(samples) / SPEECH_RATE
    return bytes((PEAK * np.cos(2 * np.pi * HERTZ * time_s)).astype("<i2").tobytes())


def stamp() -> str:
    """The wall clock as text: seconds with microseconds."""
    return f"{time.time():.6f}"


class Nothing(Mark):
    """This engine has no state to return to."""


class ToneSession(EngineSession):
    """Takes everything, remembers nothing."""

    def __init__(self, chunk: bytes) -> None:
        self._chunk = chunk

    @property
    def kv_length(self) -> int:
        return 0

    async def update(self, config: SessionConfig) -> None:
        return

    async def streaming_prefill(self, item: Item) -> None:
        return

    async def append(self, role: str, text: str, engine_tokens: bytes) -> None:
        return

    def mark(self) -> Mark:
        return Nothing()

    async def rollback(self, mark: Mark) -> None:
        return

    async def streaming_generate(self, options: GenerateOptions) -> AsyncGenerator[Chunk, None]:
        text = stamp()
        yield TextChunk(text)
        for _ in range(SECONDS * SPEECH_RATE // CHUNK):
            yield SpeechChunk(self._chunk, (0, len(text)))
        yield Finished()

    async def keep_heard(self, before: Mark, keep_ms: int) -> Kept:
        return Kept("")

    async def aclose(self) -> None:
        return


class ToneEngine(Engine):
    """Serves tones."""

    def __init__(self) -> None:
        self._chunk = tone(CHUNK)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(engine="tone", model="tone", scripted=True, notice="A tone, for measuring.")

    @property
    def context(self) -> int:
        return 8192

    @property
    def max_sessions(self) -> int:
        return MAX_SESSIONS

    async def start(self) -> None:
        return

    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        return ToneSession(self._chunk)

    async def aclose(self) -> None:
        return
