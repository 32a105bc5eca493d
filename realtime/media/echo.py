"""How much of what the microphone hears is the assistant itself. Sans-I/O.

The page says what it played, so its level is known frame by frame. Where the microphone's level follows it, always so
much later and so much softer, that part is echo: the browser's echo canceller left it, or there is none. Levels alone
are compared, in frames of 20 ms, so neither a drifting clock nor a bent loudspeaker matters.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

KEPT = 200
"""Frames that are compared: 4 s."""

LATEST = 75
"""Frames that say how loud the echo is: 1.5 s, because it changes."""

LAGS = 32
"""The echo comes within so many frames: 640 ms."""

EVERY = 20
"""Frames between two searches."""

ENOUGH = 60
"""So many frames in which the assistant sounds are needed for one."""

ALIKE = 0.55
"""From this correlation on the microphone's level is taken to follow the assistant's."""

TAIL = 0.5
"""What of a frame's echo is still there in the next one: a room with an RT60 of 0.4 s."""

MARGIN = 2.5
"""Echo up to so many times (4 dB) what is expected is still echo."""

LOUD = 0.05
"""Frames within 13 dB of the loudest say how loud the echo is."""

SOUNDING = 1e-9
"""Mean square of a frame (full scale 1) below which the assistant is silent."""


class EchoModel:
    """Feed it every frame's powers (mean squares); it says how much of the microphone's may be echo."""

    def __init__(self) -> None:
        self._heard: deque[float] = deque(maxlen=KEPT)
        self._played: deque[float] = deque(maxlen=KEPT)
        self._tail = 0.0
        self._since = 0
        self._lag: int | None = None
        self._guess = -9
        self._gain = 0.0

    @property
    def coupling_db(self) -> float | None:
        """Level of the echo against what is played; None where there is none."""
        return None if self._lag is None or self._gain <= 0 else float(10 * np.log10(self._gain))

    def feed(self, heard: float, played: float) -> float:
        """The next frame: the microphone's power and the loudspeaker's; returns the most that may be echo of it."""
        self._tail = played + TAIL * self._tail
        self._heard.append(heard)
        self._played.append(self._tail if self._tail > SOUNDING else 0.0)
        self._since += 1
        if self._since >= EVERY and self._tail > SOUNDING:
            self._since = 0
            self._search()
        return self._expected()

    def _expected(self) -> float:
        if self._lag is None:
            return 0.0
        last = len(self._played) - 1 - self._lag
        around = [self._played[index] for index in range(last - 1, last + 2) if 0 <= index < len(self._played)]
        return MARGIN * self._gain * max(around, default=0.0)

    def _search(self) -> None:
        heard, played = np.array(self._heard), np.array(self._played)
        if np.count_nonzero(played) < ENOUGH:
            return
        alike = [_alike(heard[lag:], played[: len(played) - lag]) for lag in range(min(LAGS, len(played) - ENOUGH))]
        best = int(np.argmax(alike)) if alike else 0
        if not alike or alike[best] < ALIKE:
            return
        # Chance does not find the same delay twice.
        guess, self._guess = self._guess, best
        if abs(best - guess) > 1:
            return
        self._lag = best
        latest = slice(-min(LATEST, len(heard) - best), None)
        shifted, following = played[: len(played) - best][latest], heard[best:][latest]
        loud = shifted > LOUD * shifted.max()
        if np.count_nonzero(loud) >= ENOUGH // 4:
            # The median: a word of the person must not make the echo louder.
            self._gain = float(np.median(following[loud] / shifted[loud]))


def _alike(heard: NDArray[np.float64], played: NDArray[np.float64]) -> float:
    """Correlation of two lines of levels, by their amplitudes."""
    a, b = np.sqrt(heard), np.sqrt(played)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
