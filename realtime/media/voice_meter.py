"""How loud and how bright the voice is that the detector hears, without the room's noise and the echo. Sans-I/O."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from realtime.interruption import Sounding
from realtime.media.decoder import Samples
from realtime.media.echo import EchoModel
from realtime.media.speech import FLOOR_DB

BEFORE = 4
"""Frames right before the detector is sure belong to the sound."""

STRETCH = 12
"""The loudest so many frames (240 ms) are the voice's level."""

BEAT = 4
"""Frames (80 ms) of a beat: a shorter burst is part of a consonant."""

BEAT_SHARE = 0.2
"""A beat is no softer than this share of the loudest one's power (7 dB)."""

VALLEY_DB = 4.0
"""Between two beats the voice falls by so much."""

ACTIVE = 0.05
"""Frames below this share of the loudest one's power (13 dB) are gaps in the voice."""

FOLLOW = 0.05
"""By which share of the difference the idea of the room's noise follows each frame without a voice."""

LATEST = 75
"""Frames of a long voice that count: 1.5 s."""

Powers = tuple[float, float]
"""Mean square of a frame's samples, and of their differences."""


class VoiceMeter:
    """Feed it every frame; it tells of the voice that goes on, None while there is none."""

    def __init__(self) -> None:
        self._room: Powers | None = None
        self._recent: deque[Powers] = deque(maxlen=BEFORE)
        self._voice: deque[Powers] = deque(maxlen=LATEST)
        self._echo = EchoModel()

    def feed(self, samples: Samples, speaking: bool, played: float = 0.0) -> Sounding | None:
        """The next frame, shape [1..]; `speaking`: whether the detector hears a voice. `played`: see `EchoModel`."""
        wide = samples.astype(np.float32) / 32768
        steps = np.diff(wide)
        powers = self._without_echo(float(wide @ wide) / len(wide), float(steps @ steps) / len(wide), played)
        if not speaking:
            self._quiet(powers)
            return None
        if not self._voice:
            self._voice.extend(self._recent)
        self._voice.append(powers)
        return self._sounding()

    def _without_echo(self, power: float, bright: float, played: float) -> Powers:
        share = max(0.0, 1 - self._echo.feed(power, played) / power) if power > 0 else 0.0
        return power * share, bright * share

    def _quiet(self, powers: Powers) -> None:
        self._voice.clear()
        if len(self._recent) == BEFORE:
            # What is a few frames old was no voice's beginning.
            self._follow(self._recent[0])
        self._recent.append(powers)

    def _follow(self, powers: Powers) -> None:
        room = self._room or powers
        self._room = (room[0] + FOLLOW * (powers[0] - room[0]), room[1] + FOLLOW * (powers[1] - room[1]))

    def _sounding(self) -> Sounding:
        noise = np.array(self._room or (0.0, 0.0))
        table = np.maximum(np.array(self._voice) - noise, 0.01 * np.array(self._voice))
        loudest = int(np.argmax(np.convolve(table[:, 0], np.ones(STRETCH), "valid"))) if len(table) > STRETCH else 0
        active = table[loudest : loudest + STRETCH]
        active = active[active[:, 0] >= ACTIVE * table[:, 0].max()].mean(axis=0)
        power, bright = (float(each) for each in active)
        if power <= 0:
            return Sounding(FLOOR_DB, 0.0)
        level_db, bright_db = 10 * math.log10(power), 10 * math.log10(max(bright, 1e-12) / power)
        return Sounding(max(FLOOR_DB, level_db), bright_db, has_two_beats(table[:, 0]))


def has_two_beats(powers: NDArray[np.float64]) -> bool:
    """Whether the voice falls and rises again, as in "mm-hm" and unlike in "wait"; `powers` of its frames."""
    if len(powers) < 2 * BEAT + 1:
        return False
    smooth = np.convolve(powers, np.ones(BEAT) / BEAT, "valid")
    before = np.maximum.accumulate(smooth)[: len(powers) - 2 * BEAT]
    after = np.maximum.accumulate(smooth[::-1])[::-1][BEAT + 1 :]
    between = np.maximum(powers[BEAT:-BEAT], 1e-12)
    softer = np.minimum(before, after)
    valleys = softer >= 10 ** (VALLEY_DB / 10) * between
    return bool(np.any(valleys & (softer >= BEAT_SHARE * smooth.max())))
