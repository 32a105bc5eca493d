"""Level and noise of a turn, as its first second of speech shows them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.demo.enhancement import Samples, noise_of
from model_server.protocol import HEARING_RATE

FRAME = HEARING_RATE // 100
SPEECH_RANGE_DB = 28
"""Frames this far below the loudest are no speech."""
_LOUDEST = 15
"""The loudest frame but so many counts as the loudest: a click is shorter."""
_QUIET_SHARE = 0.15
_OVER_NOISE = 4
_LEAST_POWER = 1e-12
_LEAST_PEAK = 1e-4
_PEAK = 0.5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`gain` brings speech to a known level, where `noise` is the power per bin. `clarity_db`: loud over quiet."""

    gain: float
    noise: NDArray[np.float32]
    clarity_db: float


def surroundings_of(samples: Samples) -> Surroundings:
    """What `samples` (16 kHz, not empty) with speech in them tell."""
    gain = _PEAK / max(_LEAST_PEAK, float(np.abs(samples).max()))
    return Surroundings(gain, noise_of(samples * gain), _clarity_db(loudness(samples)))


def loudness(samples: Samples) -> Samples:
    """Mean power of each whole 10 ms of `samples`."""
    whole = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return np.asarray(np.mean(whole * whole, axis=1), np.float32)


def least_speech(levels: Samples) -> float:
    """The power from which a frame counts as speech, among frames of these `levels`."""
    return _loudest(np.sort(levels)) * math.pow(10, -SPEECH_RANGE_DB / 10)


def speech_frames(samples: Samples) -> int:
    """How many frames of raw `samples` stand out of their noise."""
    levels = loudness(samples)
    if not len(levels):
        return 0
    floor = float(np.sort(levels)[int(len(levels) * _QUIET_SHARE)])
    return int(np.count_nonzero(levels > max(least_speech(levels), _OVER_NOISE * floor)))


def _clarity_db(levels: Samples) -> float:
    ordered = np.sort(levels)
    quiet = ordered[: max(4, int(len(levels) * _QUIET_SHARE))]
    quietest = float(np.mean(quiet)) if len(quiet) else 0.0
    return 10 * math.log10((_loudest(ordered) + _LEAST_POWER) / (quietest + _LEAST_POWER))


def _loudest(ordered: Samples) -> float:
    return float(ordered[-min(_LOUDEST, len(ordered))]) if len(ordered) else 0.0
