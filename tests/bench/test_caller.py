"""A caller of the bench on virtual time, against a session whose speed is known."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncGenerator, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from model_server.engine import Chunk, EngineSession, Finished, Kept, Mark, SpeechChunk, TextChunk
from model_server.protocol import GenerateOptions, Item, SessionConfig, Unit
from tests.bench.calls.caller import Caller, Ending
from tests.bench.calls.figures import Figures
from tests.bench.calls.load import Load

PIECE_S = 0.5


class _AtOnce(selectors.DefaultSelector):
    """Waits for nothing: the time that would have passed is added to the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _AtOnce()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


class _Session(EngineSession):
    """Takes `unit_s` for a unit and `piece_s` for half a second of speech; replies of `pieces` such pieces."""

    def __init__(self, unit_s: float, piece_s: float, pieces: int) -> None:
        self.unit_s, self.piece_s, self.pieces = unit_s, piece_s, pieces
        self.units: list[tuple[float, Unit]] = []
        self.acknowledged: list[tuple[float, int]] = []
        self.cut: list[int] = []

    @property
    def kv_length(self) -> int:
        return 0

    async def update(self, config: SessionConfig) -> None: ...

    async def streaming_prefill(self, item: Item) -> None:
        assert isinstance(item, Unit)
        self.units.append((asyncio.get_running_loop().time(), item))
        await asyncio.sleep(self.unit_s)

    async def append(self, role: str, text: str, engine_tokens: bytes) -> None: ...

    def mark(self) -> Mark:
        return Mark()

    async def rollback(self, mark: Mark) -> None: ...

    async def streaming_generate(self, options: GenerateOptions) -> AsyncGenerator[Chunk, None]:
        yield TextChunk("and so on")
        for _ in range(self.pieces):
            await asyncio.sleep(self.piece_s)
            yield SpeechChunk(bytes(int(48_000 * PIECE_S)), (0, 0))
        yield Finished()

    async def keep_heard(self, before: Mark, keep_ms: int) -> Kept:
        self.cut.append(keep_ms)
        return Kept("")

    def heard(self, ms: int) -> None:
        self.acknowledged.append((asyncio.get_running_loop().time(), ms))

    async def aclose(self) -> None: ...


def called(session: _Session, load: Load) -> Figures:
    """What one call of `load.seconds` met with."""
    figures = Figures()
    loop = _VirtualLoop()

    def run(work: Coroutine[Any, Any, None]) -> None:
        loop.run_until_complete(work)
        loop.close()

    run(Caller(session, load, figures, Ending(load.seconds), load.seed, loop.time).run(0.0))
    return figures


def test_a_listener_sends_a_unit_every_second() -> None:
    session = _Session(0.25, 0.0, 0)
    figures = called(session, Load(1, 60.0, speaking=0.0))
    assert len(session.units) == 59
    assert {round(later - earlier, 6) for (earlier, _), (later, _) in pairwise(session.units)} == {1.0}
    assert not any(unit.last for _, unit in session.units)
    assert figures.units == pytest.approx([0.25] * 59)


def test_units_that_queue_up_are_late_from_when_they_ended() -> None:
    figures = called(_Session(1.5, 0.0, 0), Load(1, 10.0, speaking=0.0))
    assert figures.units[:3] == pytest.approx([1.5, 2.0, 2.5])
    assert figures.units_late == len(figures.units)


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_replies_are_heard_for_the_share_of_time_that_was_asked_for(share: float) -> None:
    session = _Session(0.05, 0.1, 12)
    figures = called(session, Load(1, 3_000.0, speaking=share))
    assert figures.heard / 3_000 == pytest.approx(min(share, 0.75), abs=0.08)
    assert figures.missed == 0
    assert all(0.1 <= first <= 0.2 for first in figures.first_audio)
    assert all(0 < ms < 10_500 for ms in session.cut), "a reply that is longer is cut"
    assert session.cut


def test_speech_that_is_made_too_slowly_is_told_and_played_on_late() -> None:
    figures = called(_Session(0.05, 0.6, 6), Load(1, 100.0, speaking=0.5))
    assert figures.dry == pytest.approx([0.1] * len(figures.dry))
    assert 4 * len(figures.first_audio) <= len(figures.dry) <= figures.pieces - len(figures.first_audio)


def test_what_was_heard_is_told_five_times_a_second_and_speech_waits_for_it() -> None:
    session = _Session(0.05, 0.01, 100)
    called(session, Load(1, 60.0, speaking=0.9))
    replies = [(earlier, later) for earlier, later in pairwise(session.acknowledged) if later[1] >= earlier[1] > 0]
    assert len(replies) > 50
    assert all(later[0] - earlier[0] == pytest.approx(0.2) for earlier, later in replies)
    assert all(later[1] - earlier[1] <= 201 for earlier, later in replies)
