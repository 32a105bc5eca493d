"""First signs of a voice: a rise of level, a likely window, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.media.decoder import Samples
from realtime.media.levels import Levels
from realtime.media.stirring import Stirring
from tests.realtime.voices import noise

FRAME = 320


def frames(samples: Samples) -> list[Samples]:
    return [samples[start : start + FRAME] for start in range(0, len(samples) - FRAME + 1, FRAME)]


class Ears:
    """A stirring that hears samples."""

    def __init__(self) -> None:
        self._levels, self._stirring = Levels(), Stirring()

    def feed(self, samples: Samples, speaking: bool, probability: float) -> bool:
        return self._stirring.feed(self._levels.feed(samples), speaking, probability)


def settled(rms: float = 30.0) -> Ears:
    stirring = Ears()
    for frame in frames(noise(1.0, rms)):
        stirring.feed(frame, False, 0.0)
    return stirring


@pytest.mark.parametrize("rms", [3.0, 30.0, 300.0])
def test_steady_noise_is_no_sign(rms: float):
    stirring = settled(rms)
    assert not any(stirring.feed(frame, False, 0.0) for frame in frames(noise(10.0, rms, seed=1)))


def test_a_rise_is_seen_in_its_first_frame():
    assert settled().feed(noise(0.02, 300.0), False, 0.0)


def test_a_rise_that_nobody_could_hear_is_no_sign():
    assert not settled(1.5).feed(noise(0.02, 8.0), False, 0.0)


def test_a_likely_window_is_a_sign_without_a_rise():
    assert settled().feed(noise(0.02, 30.0), False, 0.6)


def test_who_speaks_stirs_no_more_and_falling_silent_is_no_sign():
    stirring = settled()
    assert not stirring.feed(noise(0.02, 3_000.0), True, 0.9)
    falling = [noise(0.02, 3_000.0 * 0.5**step) for step in range(8)]
    assert not any(stirring.feed(frame, False, 0.1) for frame in [*falling, *frames(noise(1.0, 30.0))])


def test_digital_silence_is_quiet():
    assert not settled(0.0).feed(np.zeros(FRAME, np.int16), False, 0.0)
