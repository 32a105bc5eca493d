"""Ten wrong guesses in one turn, from samples to what engines say: dialogue, session, a real socket, a real engine."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from model_server.doubles.echo import EchoEngine
from model_server.engine import Engine
from model_server.protocol import SPEECH_RATE, Done, Prefilled, Reply, SessionConfig, Speech, Text
from realtime.connection.frames import AudioMessage
from realtime.dialogue.dialogue import Dialogue
from realtime.events import PlaybackAck, ResponseCreated, ServerEvent
from realtime.floor.rules import FloorRules
from realtime.media.hearing import Edge
from realtime.media.units import UnitCutter
from realtime.output.playout import Playout
from realtime.output.speaking import Speaking
from realtime.service.metrics import Metrics
from realtime.session.model_session import ModelSession, SessionState
from tests.model_server.test_live_server import live
from tests.realtime.dialogue_scene import FRAME, RATE
from tests.realtime.test_session_live import Address
from tests.realtime.voices import noise

SPOKEN_S, PAUSE_S, END_S = 0.16, 0.3, 0.7
PAUSES = 10
ENOUGH_S = 1.0
"""So much of the answer's speech is compared."""

SOUND = noise(1.1 + (PAUSES + 1) * (SPOKEN_S + PAUSE_S) + END_S + 20.0, 3_000.0)


def minicpmo() -> Engine:
    pytest.importorskip("torch")
    from tests.model_server.minicpmo.serving.samples import tiny_engine

    return tiny_engine()


def _wait(place: int, wait_s: float) -> None:
    """The engine is not ready yet: wait in line."""


class LiveCall:
    """A call in steps of 20 ms whose session is a real one; `guesses_in`: the pauses in which the engine has room."""

    def __init__(self, guesses_in: range) -> None:
        self.replies: list[Reply] = []
        self.told: list[str] = []
        self._acks: deque[PlaybackAck] = deque()
        self.metrics = Metrics()
        self._guesses_in = guesses_in
        self._pause = 0
        self._position = 0
        self._cutter = UnitCutter()
        self._news = asyncio.Event()

    async def open(self, address: Address) -> ModelSession:
        self.session = await ModelSession.open(
            address, f"call{len(self._guesses_in)}", SessionConfig(seed=1), self, on_queued=_wait
        )
        ids = itertools.count(1)
        self._dialogue = Dialogue(
            self.session.capabilities,
            self.session,
            Speaking(self._tell, self._hear, lambda number: None, Playout),
            self._tell,
            self._cutter,
            lambda prefix: f"{prefix}_{next(ids)}",
            FloorRules(silence_ms=600.0, eagerness="fixed"),
            self.metrics,
        )
        return self.session

    # What the session tells -----------------------------------------------------------------------------------------

    def on_reply(self, reply: Reply) -> None:
        if isinstance(reply, Prefilled):
            reply.spare = self._has_room
        self.replies.append(reply)
        self._dialogue.reply(reply, self.now)
        self._news.set()

    def on_busy(self, seq: int, item: object) -> None:
        raise AssertionError(f"item {seq} was not taken")

    def on_state(self, state: SessionState, reason: str) -> None:
        assert state is SessionState.CLOSED, reason

    # What the person does -------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self._position / RATE

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def turn(self) -> tuple[str, bytes]:
        """Ten pauses in one turn, and its end; returns how the answer's text and speech begin."""
        await self._pass(0.5)
        for self._pause in range(PAUSES):
            await self._speak(PAUSE_S)
        self._pause = PAUSES
        await self._speak(END_S)
        async with asyncio.timeout(60):
            while not (self._spoken > ENOUGH_S or any(isinstance(each, Done) for each in self._answer)):
                await self._something()
                await self._pass(0.06)
        text = "".join(each.text for each in self._answer if isinstance(each, Text))
        pcm = b"".join(each.pcm for each in self._answer if isinstance(each, Speech))
        return text, pcm[: round(ENOUGH_S * 2 * SPEECH_RATE)]

    @property
    def _spoken(self) -> float:
        return sum(len(each.pcm) for each in self._answer if isinstance(each, Speech)) / (2 * SPEECH_RATE)

    @property
    def _answer(self) -> list[Reply]:
        """What came of the one response that the client has heard of."""
        return [each for each in self.replies if self.told and getattr(each, "response_id", None) in self.told]

    def _play(self) -> None:
        while self._acks:
            self._dialogue.played(self._acks.popleft(), self.now)

    def _hear(self, message: AudioMessage) -> None:
        """The page has played whatever reaches it."""
        played_ms = (message.position + len(message.pcm) // 2) / SPEECH_RATE * 1000
        self._acks.append(PlaybackAck(response_id=self.told[-1], played_ms=played_ms))

    def _tell(self, event: ServerEvent) -> None:
        if isinstance(event, ResponseCreated):
            self.told.append(event.response.id)

    async def _speak(self, pause_s: float) -> None:
        self._dialogue.reply(Prefilled(seq=0, kv_length=0, ms=0.0, spare=self._has_room), self.now)
        self._cutter.voice_from(self._position)
        self._dialogue.edge(Edge(True, self._position, self.now), self.now)
        await self._pass(SPOKEN_S)
        self._cutter.voice_until(self._position)
        self._dialogue.edge(Edge(False, self._position, self.now), self.now)
        begun = len(self.replies)
        await self._pass(0.28)
        if self._has_room and self._pause % 2:
            # Every second guess is well under way when it turns out to be wrong.
            await self.until(lambda: any(isinstance(each, Text | Speech) for each in self.replies[begun:]))
        await self._pass(pause_s - 0.28)

    async def _something(self) -> None:
        """An engine that has said as much as it may waits for the call's time to pass."""
        self._news.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), 0.02)

    async def _pass(self, seconds: float) -> None:
        for _ in range(round(seconds * RATE / FRAME)):
            units = self._cutter.append(SOUND[self._position : self._position + FRAME])
            self._position += FRAME
            for unit in units:
                self._dialogue.unit(unit, self.now)
            self._dialogue.tick(self.now)
            self._play()
            await asyncio.sleep(0)

    @property
    def _has_room(self) -> bool:
        return self._pause in self._guesses_in

    def guesses(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("realtime_guesses_total", {"outcome": outcome}) or 0.0


@asynccontextmanager
async def served(make: Callable[[], Engine]) -> AsyncIterator[Address]:
    engine = make()
    async with live(engine) as server:
        yield Address(f"ws://127.0.0.1:{server.port}")


@pytest.mark.parametrize("make", [EchoEngine, minicpmo])
async def test_ten_wrong_guesses_in_one_turn_leave_no_trace(make: Callable[[], Engine]) -> None:
    answers = []
    async with served(make) as address:
        for guesses_in in (range(PAUSES, PAUSES + 1), range(PAUSES + 1)):
            call = LiveCall(guesses_in)
            session = await call.open(address)
            answers.append(await call.turn())
            await session.close()
            assert len(call.told) == 1
            assert (call.guesses("adopted"), call.guesses("discarded")) == (1, len(guesses_in) - 1)
    (undisturbed, its_speech), (text, speech) = answers
    assert undisturbed[: len(text)] == text[: len(undisturbed)]
    assert speech == its_speech
    assert min(len(undisturbed), len(text), len(speech)) > 0
