"""How loud and how bright the voice is that the detector hears, without the noise of the room. Sans-I/O."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from model_server.protocol import HEARING_RATE
from realtime.interruption import Sounding
from realtime.media.decoder import Samples
from realtime.media.speech import FLOOR_DB

BEFORE = 4
"""Frames right before the detector is sure belong to the sound."""

ACTIVE = 10 ** (-1.5)
"""Frames below the loudest by more than 15 dB are gaps in the voice."""

FOLLOW = 0.05
"""By which share of the difference the idea of the room's noise follows each frame without a voice."""

Powers = tuple[float, float]
"""Mean square of a frame's samples, and of their differences."""


class VoiceMeter:
    """Feed it every frame; it tells of the voice that goes on, None while there is none."""

    def __init__(self) -> None:
        self._room: Powers | None = None
        self._recent: deque[Powers] = deque(maxlen=BEFORE)
        self._voice: list[Powers] = []
        self._samples = 0

    def feed(self, samples: Samples, speaking: bool) -> Sounding | None:
        """The next frame, shape [1..]; `speaking`: whether the detector hears a voice."""
        wide = samples.astype(np.float32) / 32768
        steps = np.diff(wide)
        powers = float(wide @ wide) / len(wide), float(steps @ steps) / len(wide)
        if not speaking:
            self._quiet(powers)
            return None
        if not self._voice:
            self._voice = list(self._recent)
            self._samples = len(self._recent) * len(samples)
        self._voice.append(powers)
        self._samples += len(samples)
        return self._sounding()

    def _quiet(self, powers: Powers) -> None:
        self._voice = []
        if len(self._recent) == BEFORE:
            # What is a few frames old was no voice's beginning.
            self._follow(self._recent[0])
        self._recent.append(powers)

    def _follow(self, powers: Powers) -> None:
        room = self._room or powers
        self._room = (room[0] + FOLLOW * (powers[0] - room[0]), room[1] + FOLLOW * (powers[1] - room[1]))

    def _sounding(self) -> Sounding:
        table = np.array(self._voice)
        active = table[table[:, 0] >= ACTIVE * table[:, 0].max()].mean(axis=0)
        noise = np.array(self._room or (0.0, 0.0))
        power, bright = np.maximum(active - noise, 0.01 * active)
        ms = 1000 * self._samples / HEARING_RATE
        if power <= 0:
            return Sounding(ms, FLOOR_DB, 0.0)
        return Sounding(ms, max(FLOOR_DB, 10 * math.log10(power)), 10 * math.log10(max(bright, 1e-12) / power))
