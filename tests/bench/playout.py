"""What speaking costs the gateway: pacing, the Opus return track, and the session's book-keeping.

Run `python -m tests.bench.playout` for the table. 10 ms of CPU per second of speech are one per cent of a core.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model_server.protocol import (
    Capabilities,
    Limits,
    Opened,
    Prefilled,
    SessionConfig,
    Speech,
    Started,
    Text,
    Unit,
)
from realtime.connection.frames import AudioMessage, encode_audio
from realtime.output.playout import Playout
from realtime.output.return_track import ReturnTrack
from realtime.session.protocol import SessionProtocol

CHUNK_MS = 200
MESSAGE_S = 0.02


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of CPU for one second of speech."""

    what: str
    ms_per_s: float


def speech_like(seconds: int) -> bytes:
    """PCM16 24 kHz that an encoder has to work for: a voice's harmonics, syllables and breath."""
    t = np.arange(24_000 * seconds) / 24_000
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * t)
    voice = sum(np.sin(2 * np.pi * 140 * n * t) / n for n in range(1, 20))
    breath = np.random.default_rng(1).normal(0, 0.2, t.size)
    return (6_000 * (voice * syllables + breath)).clip(-32_768, 32_767).astype("<i2").tobytes()


def pacing(seconds: int = 60) -> Cost:
    """A page that reports five times a second, polled for each message; the wire form included."""
    playout = Playout()
    playout.begin("r", 1, 0.0)
    chunk = bytes(CHUNK_MS * 48)

    def speak() -> None:
        given = 0
        for tick in range(round(seconds / MESSAGE_S)):
            now = tick * MESSAGE_S
            while given < (now + 5) * 24_000 and given < seconds * 24_000:
                playout.speech("r", given, chunk, now)
                given += CHUNK_MS * 24
            if tick % 10 == 0:
                playout.ack("r", max(0.0, now - 0.1) * 1000, False, now)
            for message in playout.poll(now).messages:
                encode_audio(message)
            playout.credit(now)

    return Cost("pace and encode 50 messages a second", _per_second(speak, seconds))


def return_track(seconds: int = 20) -> Cost:
    """The same speech as Opus packets, ready for aiortc."""
    pcm = speech_like(seconds)
    clock = _Jumping()
    track = ReturnTrack(clock, clock.sleep)

    async def speak() -> None:
        for start in range(0, len(pcm) - 959, 960):
            track.push(AudioMessage(1, start // 2, pcm[start : start + 960]))
            await track.recv()

    return Cost("encode an Opus return track", _per_second(lambda: asyncio.run(speak()), seconds))


def session_books(seconds: int = 60) -> Cost:
    """One unit and five pieces of text and speech a second through the session's protocol and log."""
    session = SessionProtocol(SessionConfig())
    capabilities = Capabilities(engine="bench", model="bench", turn_taking="native")
    session.opened(
        Opened(
            session_id="s",
            capabilities=capabilities,
            limits=Limits(max_sessions=1, context=1),
            version="1",
            resume_token="t",
        )
    )
    session.receive(Started(response_id="r"))
    unit, chunk = Unit(audio=bytes(32_000), pictures=[bytes(60_000)]), bytes(CHUNK_MS * 48)

    def talk() -> None:
        for second in range(seconds):
            session.prefill(unit)
            while session.next_request() is not None:
                pass
            session.receive(Prefilled(seq=second + 1, kv_length=second, ms=1))
            for piece in range(1000 // CHUNK_MS):
                at = second * 24_000 + piece * CHUNK_MS * 24
                session.receive(Text(response_id="r", start=second * 20 + piece * 4, text="word"))
                session.receive(Speech(response_id="r", position=at, pcm=chunk, text_span=(0, 4)))
                session.played("r", at // 24)
            session.deliveries()

    return Cost("book-keeping of the session", _per_second(talk, seconds))


class _Jumping:
    """A clock that jumps over every pause."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += seconds


def _per_second(work: Callable[[], None], seconds: int) -> float:
    before = time.process_time()
    work()
    return 1000 * (time.process_time() - before) / seconds


def main() -> None:
    """Print the table."""
    for cost in (pacing(), return_track(), session_books()):
        print(
            f"{cost.what:40} {cost.ms_per_s:7.2f} ms of CPU per second of speech = {cost.ms_per_s / 10:.2f} % of a core"
        )


if __name__ == "__main__":
    main()
