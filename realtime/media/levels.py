"""How loud the last second was, in blocks of 10 ms: computed once, read by whoever wants to know. Sans-I/O."""

from __future__ import annotations

from collections.abc import Sequence

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


class Levels:
    """Feed it every sample of the call, in pieces of any size."""

    def __init__(self) -> None:
        self.position = 0
        """The sample after the newest whole block."""
        self.powers: NDArray[np.float64] = np.full(KEPT, SILENCE)
        """Mean square of each remembered block against full scale, oldest first, shape [KEPT]."""
        self._rest: Samples = np.empty(0, np.int16)

    def feed(self, samples: Samples) -> Sequence[float]:
        """The next samples, shape [any]; returns the levels of the blocks that are now whole, dB of full scale."""
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        whole = len(samples) // BLOCK
        self._rest = samples[whole * BLOCK :].copy()
        if whole == 0:
            return []
        blocks = samples[: whole * BLOCK].astype(np.float32).reshape(whole, BLOCK)
        powers = np.maximum(np.einsum("ij,ij->i", blocks, blocks) / (BLOCK * 32768.0**2), SILENCE)
        self.powers = np.concatenate((self.powers, powers))[-KEPT:]
        self.position += whole * BLOCK
        levels: list[float] = (10 * np.log10(powers)).tolist()
        return levels
