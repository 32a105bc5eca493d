"""Concealment of short gaps for decoders that have none: the last pitch period goes on and fades away."""

from __future__ import annotations

import numpy as np

from model_server.protocol import HEARING_RATE
from realtime.media.decoder import Samples

SHORTEST_PERIOD = HEARING_RATE // 400
LONGEST_PERIOD = HEARING_RATE // 66
"""Periods of human voices: 400 Hz down to 66 Hz, in samples."""

FADE_SAMPLES = HEARING_RATE * 80 // 1000
"""A concealed stretch is silent after 80 ms: longer guesses sound like a stuck machine."""

JOIN_SAMPLES = HEARING_RATE * 25 // 10_000
"""The way back into real audio is a cross-fade of 2.5 ms."""

_MEMORY = 2 * LONGEST_PERIOD + SHORTEST_PERIOD


class WaveformConcealer:
    """Hears every real sample through `heard` and continues them in `conceal` where some are lost."""

    def __init__(self) -> None:
        self._memory = np.zeros(_MEMORY, dtype=np.float32)
        self._period = 0
        self._concealed = 0

    def heard(self, samples: Samples) -> Samples:
        """`samples` as they should sound: after a concealed stretch their first 2.5 ms fade in from it."""
        joined = self._join(samples) if self._concealed else samples
        self._memory = np.concatenate((self._memory, joined))[-_MEMORY:].astype(np.float32)
        self._concealed = 0
        return joined

    def conceal(self, samples: int) -> Samples:
        """The next `samples`, made of the last pitch period."""
        if self._concealed == 0:
            self._period = self._find_period()
        out = self._continue(samples)
        self._concealed += samples
        return out.astype(np.int16)

    def _continue(self, samples: int) -> np.ndarray:
        places = np.arange(self._concealed, self._concealed + samples)
        gain = np.clip(1.0 - places / FADE_SAMPLES, 0.0, 1.0)
        return np.asarray(self._memory[_MEMORY - self._period + places % self._period] * gain)

    def _join(self, samples: Samples) -> Samples:
        length = min(JOIN_SAMPLES, len(samples))
        weight = np.linspace(0.0, 1.0, length, endpoint=False)
        joined = samples.copy()
        joined[:length] = (samples[:length] * weight + self._continue(length) * (1.0 - weight)).astype(np.int16)
        return joined

    def _find_period(self) -> int:
        """The lag at which the last stretch repeats best (normalised correlation over one longest period)."""
        target = self._memory[-LONGEST_PERIOD:]
        windows = np.lib.stride_tricks.sliding_window_view(self._memory, LONGEST_PERIOD)
        lags = np.arange(SHORTEST_PERIOD, LONGEST_PERIOD + 1)
        earlier = windows[len(windows) - 1 - lags]
        likeness = earlier @ target / np.sqrt((earlier * earlier).sum(axis=1) + 1.0)
        return int(lags[np.argmax(likeness)])
