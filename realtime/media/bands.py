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
ONES = np.ones(BANDS)
"""The power of all bands is `bands @ ONES`, which costs a fifth of their `sum`."""

_STARTS = 2 * (np.array(EDGES_HZ) // 50)
_GAIN = {size: (0.1875 * size * size) ** -0.5 for size in (320, 480)}
_WINDOWS = {size: (gain * np.hanning(size)).astype(np.float32) for size, gain in _GAIN.items()}
_WINDOWS_INT16 = {size: (window / 32768).astype(np.float32) for size, window in _WINDOWS.items()}


def bands(samples: NDArray[np.float32] | NDArray[np.int16]) -> Bands:
    """The bands of 20 ms at 16 or 24 kHz: shape [..., 320] or [..., 480] gives [..., BANDS].

    The samples are float32 of full scale 1, or int16. Both rates have bins of 50 Hz.
    """
    windows = _WINDOWS_INT16 if samples.dtype == np.int16 else _WINDOWS
    spectrum = np.fft.rfft(samples * windows[samples.shape[-1]])
    # Real and imaginary parts side by side: one square for both.
    parts = np.square(spectrum.view(np.float32)[..., : _STARTS[-1]])
    return np.add.reduceat(parts, _STARTS[:-1], axis=-1).astype(np.float64)
