"""The way from the loudspeaker back into the microphone: a soft clipper, a room, and a residual that wanders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server.protocol import HEARING_RATE
from tests.bench.floor.voices import Sound

CLIP = 4.0
"""The loudspeaker bends peaks above so many times the speech's RMS level."""

WANDER_DB = 3.0
WANDER_S = 1.5
"""The residual's gain wanders by so much (standard deviation), with this time constant."""


def impulse_response(
    rng: np.random.Generator, *, rt60: float, delay_ms: float, direct: float = 1.0
) -> NDArray[np.float64]:
    """A direct path `delay_ms` late, then an exponentially decaying tail (Polack's model); energy 1."""
    length = round(rt60 * HEARING_RATE * 0.7)
    times = np.arange(length) / HEARING_RATE
    tail = rng.standard_normal(length) * np.exp(-6.91 * times / rt60)
    tail *= 0.6 / np.sqrt(np.sum(tail**2))
    tail[0] = direct
    tail /= np.sqrt(np.sum(tail**2))
    return np.concatenate((np.zeros(round(delay_ms * HEARING_RATE / 1000)), tail))


class Echo:
    """One call's echo of the assistant, block by block. `gain`: RMS of the echo when the assistant speaks at RMS 1."""

    def __init__(self, rng: np.random.Generator, gain: float, block: int) -> None:
        self._rng = rng
        self._gain = gain
        self._block = block
        response = impulse_response(rng, rt60=rng.uniform(0.3, 0.6), delay_ms=rng.uniform(20, 400))
        self._size = 1 << (len(response) + block - 1).bit_length()
        self._spectrum = np.fft.rfft(response, self._size)
        self._pending = np.zeros(self._size)
        self._wander = 0.0
        self._last = 1.0

    def next(self, played: Sound) -> NDArray[np.float64]:
        """What of the loudspeaker's next block, shape [block], reaches the microphone in its time."""
        if played.any():
            bent = CLIP * np.tanh(played / CLIP)
            self._pending += np.fft.irfft(np.fft.rfft(bent, self._size) * self._spectrum, self._size)
        out = self._pending[: self._block].copy()
        self._pending[: -self._block] = self._pending[self._block :]
        self._pending[-self._block :] = 0.0
        return out * self._gain * self._residual()

    def _residual(self) -> NDArray[np.float64]:
        """The gain over this block: it wanders, without steps."""
        keep = np.exp(-self._block / HEARING_RATE / WANDER_S)
        self._wander = keep * self._wander + np.sqrt(1 - keep**2) * WANDER_DB * self._rng.standard_normal()
        before, self._last = self._last, 10 ** (self._wander / 20)
        return np.linspace(before, self._last, self._block)
