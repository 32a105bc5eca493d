"""Rows `slow_engine_*`: an engine that takes three seconds for each second, while the person is heard and seen."""

from __future__ import annotations

from collections import deque

import numpy as np

from model_server.protocol import Capabilities, Limits, Opened, Prefill, Prefilled, SessionConfig, Unit
from realtime.session.protocol import SessionProtocol
from tests.bench.measurement import Measurement, Options, Repetitions

UNITS = 40
PREFILL_S = 3
JPEG = b"\xff\xd8" + bytes(20_000)


class SlowServer:
    """Answers one item every `PREFILL_S` seconds, in order, and keeps what it was given."""

    def __init__(self) -> None:
        self.taken: list[Prefill] = []
        self.most_unanswered = 0
        self._unanswered: deque[int] = deque()
        self._answer_at = 0

    def take(self, request: Prefill, now: int) -> None:
        if not self._unanswered:
            self._answer_at = now + PREFILL_S
        self._unanswered.append(request.seq)
        self.taken.append(request)
        self.most_unanswered = max(self.most_unanswered, len(self._unanswered))

    def answer(self, now: int) -> Prefilled | None:
        if not self._unanswered or now < self._answer_at:
            return None
        self._answer_at = now + PREFILL_S
        return Prefilled(seq=self._unanswered.popleft(), kv_length=0, ms=1000.0 * PREFILL_S)


def listen(seed: int) -> SlowServer:
    """A person speaks and shows for `UNITS` seconds; returns the server when it has everything."""
    session, server = SessionProtocol(SessionConfig()), SlowServer()
    session.opened(_opened())
    spoken = [spoken_unit(seed, number) for number in range(UNITS)]
    for now in range(UNITS * (PREFILL_S + 1)):
        if now < UNITS:
            session.prefill(spoken[now])
        reply = server.answer(now)
        if reply is not None:
            session.receive(reply)
        while (request := session.next_request()) is not None:
            assert isinstance(request, Prefill)
            server.take(request, now)
    return server


def spoken_unit(seed: int, number: int) -> Unit:
    """One second of sound that no other unit has, with a picture."""
    sound = np.random.default_rng((seed, number)).integers(-3000, 3000, 16_000).astype("<i2")
    return Unit(audio=sound.tobytes(), pictures=[JPEG])


def samples_lost(server: SlowServer, seed: int) -> int:
    """Samples that were spoken and are not at the server, in order."""
    said = b"".join(spoken_unit(seed, number).audio for number in range(UNITS))
    heard = b"".join(request.item.audio for request in server.taken if isinstance(request.item, Unit))
    return 0 if heard == said else max(1, abs(len(said) - len(heard)) // 2)


def needless_pictures(server: SlowServer) -> int:
    """Pictures beyond those of the first two units, of the newest one, and one while each answer was waited for."""
    behind = server.taken[2:-1]
    return sum(len(request.item.pictures) for request in behind if isinstance(request.item, Unit))


async def measure(options: Options) -> Repetitions:
    """All three rows."""
    seeds = range(options.times(5, 2))
    servers = [listen(seed) for seed in seeds]
    return {
        "slow_engine_queue": [server.most_unanswered for server in servers],
        "slow_engine_audio": [samples_lost(server, seed) for seed, server in zip(seeds, servers, strict=True)],
        "slow_engine_pictures": [needless_pictures(server) for server in servers],
    }


def _opened() -> Opened:
    return Opened(
        session_id="bench",
        capabilities=Capabilities(engine="slow", model="slow"),
        limits=Limits(max_sessions=1, context=8192),
        version="1",
        resume_token="none",
    )


MEASUREMENT = Measurement(("slow_engine_queue", "slow_engine_audio", "slow_engine_pictures"), measure)
