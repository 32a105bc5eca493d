"""The person's first word over a reply: all of it reaches the session after a yield, once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from realtime.dialogue.held import HeldUnits
from realtime.media.decoder import Samples
from realtime.media.hearing import Edge, Hearing, UnitClosed
from realtime.media.receive import AudioPacket, AudioReceiver
from realtime.media.speech import EdgeKind, SpeechEdge
from realtime.media.units import CutUnit

FRAME = 320


class NumberDecoder:
    """Packet n is 20 ms of the number n."""

    def decode(self, payload: bytes) -> Samples:
        return np.full(FRAME, int.from_bytes(payload, "little"), np.int16)

    def conceal(self, samples: int, following: bytes | None) -> Samples:
        return np.zeros(samples, np.int16)

    def reset(self) -> None: ...


class LateDetector:
    """Hears a voice from frame `edge` on, 60 ms after it."""

    probability = 0.0
    level_db = 0.0
    sure_until = 0
    speaking = False

    def __init__(self, edge: int) -> None:
        self._edge = edge
        self._frames = 0

    def feed(self, samples: Samples) -> list[SpeechEdge]:
        self._frames += 1
        if self.speaking or self._frames < self._edge + 3:
            return []
        self.speaking = True
        return [SpeechEdge(EdgeKind.STARTED, self._edge * FRAME)]

    def reset(self) -> None: ...

    def set_thresholds(self, start: float, stop: float) -> None: ...


def held_after(edge: int) -> list[CutUnit]:
    """What is sent after the yield, when the detector's edge is at frame `edge` of 200."""
    hearing = Hearing(AudioReceiver(NumberDecoder(), 0.0), LateDetector(edge), 0.0)
    held = HeldUnits()
    held.hold()
    for number in range(200):
        packet = AudioPacket(7, number, number * 960, number.to_bytes(2, "little"))
        for event in hearing.packet(packet, 0.02 * (number + 1)):
            if isinstance(event, Edge):
                held.voice_from(event.position)
            elif isinstance(event, UnitClosed):
                assert held.offer(event.unit) == []
    return [unit for unit in held.release() if isinstance(unit, CutUnit)]


@pytest.mark.parametrize("edge", [100, 101, 105, 114, 115, 120, 149])
@pytest.mark.parametrize("before", [5, 10, 15])
def test_a_word_that_begins_before_the_edge_is_kept_whole(edge: int, before: int) -> None:
    units = held_after(edge)
    numbers = np.concatenate([unit.samples for unit in units])
    assert set(range(edge - before, 200)) <= set(numbers.tolist())
    assert all(one.end == next_one.start for one, next_one in itertools.pairwise(units))
    assert len(numbers) == units[-1].end - units[0].start
    assert numbers[0] == units[0].start // FRAME
    assert units[0].voiced


def test_what_is_long_before_the_word_is_dropped() -> None:
    assert held_after(149)[0].start == 2 * 16_000
    assert held_after(115)[0].start == 2 * 16_000
    assert held_after(114)[0].start == 16_000
