"""How loud the last second was, in blocks of 10 ms: computed once, read by whoever wants to know. Sans-I/O."""

from __future__ import annotations

from collections import deque
from math import log10

import numpy as np
from numpy.typing import NDArray

from realtime.media.decoder import Samples
from realtime.media.speech import FLOOR_DB

BLOCK = 160
"""Samples of a block."""

KEPT = 100
"""Blocks that are remembered."""

SILENCE = 10 ** (FLOOR_DB / 10)
"""Power of digital silence, against full scale: nothing is quieter in 16 bit."""

FULL = BLOCK * 32768.0**2
"""What the squares of a block at full scale come to."""

_NOTHING: Samples = np.empty(0, np.int16)


class Levels:
    """Feed it every sample of the call, in pieces of any size. Sums are of whole numbers: the same on every machine."""

    def __init__(self) -> None:
        self.position = 0
        """The sample after the newest whole block."""
        self._powers = deque([SILENCE] * KEPT, KEPT)
        self._rest = _NOTHING

    @property
    def powers(self) -> NDArray[np.float64]:
        """Mean square of each remembered block against full scale, oldest first, shape [KEPT]."""
        return np.array(self._powers)

    def feed(self, samples: Samples) -> list[float]:
        """The next samples, shape [any]; returns the levels of the blocks that are now whole, dB of full scale."""
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        whole = len(samples) // BLOCK
        if whole * BLOCK == len(samples):
            self._rest = _NOTHING
        else:
            self._rest = samples[whole * BLOCK :].copy()
        if whole == 0:
            return []
        squares = samples[: whole * BLOCK].astype(np.int64)
        squares *= squares
        powers = [max(total / FULL, SILENCE) for total in squares.reshape(whole, BLOCK).sum(1).tolist()]
        self._powers.extend(powers)
        self.position += whole * BLOCK
        return [10 * log10(power) for power in powers]
