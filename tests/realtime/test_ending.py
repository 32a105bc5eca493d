"""When a voice ended: what its level, the detector and its last sure window have to say."""

from __future__ import annotations

import numpy as np
import pytest

from model_server.protocol import HEARING_RATE
from realtime.media.ending import (
    EARLIEST_SAMPLES,
    LATE_SAMPLES,
    LEVEL_SHARE,
    SURE_SHARE,
    USUAL_SURE,
    ending,
)
from realtime.media.levels import Levels
from tests.realtime.voices import noise

ROOM = 30.0
END = HEARING_RATE


def heard(voice: list[float], late_ms: int, room: float = ROOM) -> float:
    """A voice of such levels, 50 ms each, until `END`; the detector says `late_ms` later that it ended."""
    sound = noise(2.0, room).astype(np.float64)
    loud = noise(2.0, 1.0 * 1_000).astype(np.float64) / 1_000
    for index, level in enumerate(reversed(voice)):
        place = slice(END - (index + 1) * 800, END - index * 800)
        sound[place] += loud[place] * level
    levels, stopped = Levels(), END + late_ms * 16
    levels.feed(sound[: stopped + 4 * 512].astype(np.int16))
    return ending(levels, stopped, END)


@pytest.mark.parametrize("late_ms", [0, 60, 120, 180])
def test_a_detector_that_is_later_is_believed_less(late_ms: int):
    end = heard([3_000.0] * 12, late_ms)
    wanted = END + (1 - LEVEL_SHARE - SURE_SHARE) * late_ms * 16 - LATE_SAMPLES
    assert end == pytest.approx(wanted, abs=4 * 160 * LEVEL_SHARE)


def test_a_voice_that_the_room_hides_ended_where_the_detector_says():
    end = heard([40.0] * 12, 100)
    assert end >= END + 1_600 - LATE_SAMPLES - LEVEL_SHARE * EARLIEST_SAMPLES - SURE_SHARE * 1_600
    assert end <= END + 1_600


def test_a_detector_that_is_never_sure_is_taken_for_as_sure_as_usual():
    levels = Levels()
    levels.feed(noise(2.0, ROOM))
    assert ending(levels, END, 0) == ending(levels, END, END - USUAL_SURE)


@pytest.mark.parametrize("room", [0.0, 3_000.0])
def test_nothing_but_room_has_an_ending_too(room: float):
    assert np.isfinite(heard([], 0, room))


def test_the_first_samples_of_a_call_have_an_ending():
    assert np.isfinite(ending(Levels(), 0, 0))
