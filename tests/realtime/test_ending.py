"""When a voice ended by its level, and by how much it fell."""

from __future__ import annotations

import numpy as np
import pytest

from model_server.protocol import HEARING_RATE
from realtime.media.ending import EARLIEST_SAMPLES, LATE_SAMPLES, Ending, ending
from realtime.media.levels import Levels
from tests.realtime.voices import noise

ROOM = 30.0
END = HEARING_RATE


def heard(voice: list[float], late_ms: int, room: float = ROOM) -> Ending:
    """A voice of such levels, 50 ms each, until `END`; the detector says `late_ms` later that it ended."""
    sound = noise(2.0, room).astype(np.float64)
    loud = noise(2.0, 1.0 * 1_000).astype(np.float64) / 1_000
    for index, level in enumerate(reversed(voice)):
        place = slice(END - (index + 1) * 800, END - index * 800)
        sound[place] += loud[place] * level
    levels, stopped = Levels(), END + late_ms * 16
    levels.feed(sound[: stopped + 4 * 512].astype(np.int16))
    return ending(levels, stopped)


@pytest.mark.parametrize("late_ms", [0, 60, 120, 180])
def test_a_detector_that_is_later_is_believed_less(late_ms: int):
    how = heard([3_000.0] * 12, late_ms)
    wanted = END + 0.6 * late_ms * 16 - LATE_SAMPLES
    assert how.position == pytest.approx(wanted, abs=3 * 160 * 0.4)


def test_a_voice_that_the_room_hides_ended_where_the_detector_says():
    how = heard([40.0] * 12, 100)
    assert END + 1_600 - LATE_SAMPLES - 0.4 * EARLIEST_SAMPLES <= how.position <= END + 1_600


@pytest.mark.parametrize(
    ("last", "least", "most"), [([3_000.0] * 6, -1.5, 1.0), ([1_000.0] * 6, 6.0, 11.0), ([6_000.0] * 3, -7.0, -0.5)]
)
def test_the_fall_is_that_of_the_last_syllable(last: list[float], least: float, most: float):
    assert least <= heard([3_000.0] * 12 + last, 60).fall_db <= most


@pytest.mark.parametrize("room", [0.0, 3_000.0])
def test_nothing_but_room_has_an_ending_too(room: float):
    how = heard([], 0, room)
    assert np.isfinite(how.position)
    assert np.isfinite(how.fall_db)


def test_the_first_samples_of_a_call_have_an_ending():
    assert np.isfinite(ending(Levels(), 0).position)
