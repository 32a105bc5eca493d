"""The power of a frame of sound in a few bands of frequency, by which an echo is told from a voice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bands = NDArray[np.float64]
"""Mean square (full scale 1) in each band, shape [BANDS]."""

FRAME_S = 0.02
EDGES_HZ = (100, 350, 700, 1_200, 2_000, 3_200, 5_000, 8_000)
"""Narrow where voices are; a loudspeaker gives nothing below, a microphone at 16 kHz hears nothing above."""

BANDS = len(EDGES_HZ) - 1
_EDGES = np.array(EDGES_HZ) // 50
_WINDOWS = {size: np.hanning(size).astype(np.float32) for size in (320, 480)}


def bands(samples: NDArray[np.float32]) -> Bands:
    """The bands of 20 ms at 16 or 24 kHz (shape [320] or [480], full scale 1): both have bins of 50 Hz."""
    size = len(samples)
    spectrum = np.fft.rfft(samples * _WINDOWS[size])[: _EDGES[-1]]
    power = spectrum.real**2 + spectrum.imag**2
    return np.add.reduceat(power, _EDGES[:-1]) / (0.1875 * size * size)
