"""How loud and how bright the voice is that the detector hears, without the room's noise and the echo. Sans-I/O."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from realtime.floor.interruption import Sign, Sounding
from realtime.media.bands import FRAME_S, Bands, bands
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

BEATS_EVERY = 3
"""Beats are counted again after so many frames."""

LOOK_EVERY = 5
"""Frames that are gaps in the voice change next to nothing: only every fifth of them is looked at."""

ACTIVE = 0.05
"""Frames below this share of the loudest one's power (13 dB) are gaps in the voice."""

GAP_DB = -13.0
"""The same in dB, against the voice's level."""

FOLLOW = 0.05
"""By which share of the difference the idea of the room's noise follows each frame without a voice."""

ROOM_MARGIN = 1.5
"""A first sign stands out from the room's noise by so many times its power."""

LATEST = 75
"""Frames of a long voice that count: 1.5 s."""

BY_DEFAULT = 0.5
"""Until it is known whether there is an echo, half of every sound's power over the assistant is taken for one."""

WANDERS = 2.0
"""Where echo is expected, so many times its usual power is taken off besides: it may have become louder just now."""

POSSIBLE = 0.1
"""A window that is a voice with this probability may be the first of a word."""

HISS = 0.4
"""Two frames with so much energy in their differences may be the "s" of "stop", which no detector takes for a voice."""

Powers = tuple[float, float]
"""Mean square of a frame's samples, and of their differences."""


class VoiceMeter:
    """Feed it every frame; it tells of the voice that goes on, None while there is none."""

    def __init__(self) -> None:
        self._room: Powers | None = None
        self._recent: deque[Powers] = deque(maxlen=BEFORE)
        self._voice: deque[Powers] = deque(maxlen=LATEST)
        self._heard: deque[float] = deque(maxlen=LATEST)
        self._beats = (0, False)
        self._latest: Sounding | None = None
        self._gaps = 0
        self._echo = EchoModel()

    @property
    def echo_db(self) -> float | None:
        """Level of the assistant's echo while it sounds, dB of full scale; None while no echo was found."""
        return self._echo.level_db

    @property
    def room_db(self) -> float:
        """Level of the room's noise, dB of full scale."""
        return FLOOR_DB if self._room is None else _db(self._room[0])

    def feed(self, samples: Samples, speaking: bool, played: Bands | None = None) -> Sounding | None:
        """The next frame, shape [1..]; `speaking`: whether the detector hears a voice.

        `played`: what the loudspeaker gave meanwhile, None for silence.
        """
        wide = samples.astype(np.float32)
        wide /= 32768
        steps = wide[1:] - wide[:-1]
        power, bright = float(wide @ wide) / len(wide), float(steps @ steps) / len(wide)
        share = self._own_share(wide, played, speaking)
        if not speaking:
            self._quiet((power * share, bright * share))
            return None
        if not self._voice:
            self._voice.extend(self._recent)
            self._heard.extend(each for each, _ in self._recent)
            self._beats, self._latest = (0, False), None
        self._voice.append((power * share, bright * share))
        self._heard.append(power)
        self._gaps = self._gaps + 1 if self._is_gap(power * share) else 0
        if self._latest is None or self._gaps % LOOK_EVERY == 0:
            self._latest = self._sounding()
        return self._latest

    def sign(self, probability: float) -> Sign | None:
        """Whether the newest frames, in which the detector hears no voice yet, may be the beginning of a word."""
        if len(self._recent) < 2 or self._room is None:
            return None
        latest = [self._above_room(self._recent[-2]), self._above_room(self._recent[-1])]
        if all(bright >= HISS * power for power, bright in latest):
            return Sign(_db(min(power for power, _ in latest)), probability, hiss=True)
        return Sign(_db(latest[1][0]), probability, hiss=False) if probability >= POSSIBLE else None

    def _own_share(self, wide: NDArray[np.float32], played: Bands | None, speaking: bool) -> float:
        """How much of the frame's power is no echo of what was played."""
        self._echo.plays(played)
        if self._echo.idle or len(wide) != 320:
            return 1.0
        heard = bands(wide)
        echo = self._echo.feed(heard, speaking=speaking)
        if self._echo.undecided:
            return BY_DEFAULT
        all_of_it, left = float(heard.sum()), float(np.maximum(heard - echo, 0.0).sum())
        if float(echo.sum()) > self._echo.level:
            left -= WANDERS * self._echo.level
        return max(0.0, left) / all_of_it if all_of_it > 0 else 0.0

    def _above_room(self, powers: Powers) -> Powers:
        assert self._room is not None
        return (
            max(powers[0] - ROOM_MARGIN * self._room[0], 0.01 * powers[0]),
            max(powers[1] - ROOM_MARGIN * self._room[1], 0.01 * powers[1]),
        )

    def _quiet(self, powers: Powers) -> None:
        self._voice.clear()
        self._heard.clear()
        if len(self._recent) == BEFORE:
            # What is a few frames old was no voice's beginning.
            self._follow(self._recent[0])
        self._recent.append(powers)

    def _follow(self, powers: Powers) -> None:
        room = self._room or powers
        self._room = (room[0] + FOLLOW * (powers[0] - room[0]), room[1] + FOLLOW * (powers[1] - room[1]))

    def _is_gap(self, power: float) -> bool:
        return self._latest is not None and _db(power) < max(self._latest.level_db + GAP_DB, self.room_db)

    def _sounding(self) -> Sounding:
        voice = np.array(self._voice)
        table = np.maximum(voice - (self._room or (0.0, 0.0)), 0.01 * voice)
        powers = table[:, 0]
        active = table[_loudest(powers) :][:STRETCH]
        power, bright = (float(each) for each in active[active[:, 0] >= ACTIVE * powers.max()].mean(axis=0))
        echo, own_db = self._echo.possible, min(0.0, _db(power) - _db(self._loudest_heard()))
        if power <= 0:
            return Sounding(FLOOR_DB, 0.0, maybe_echo=echo, own_db=own_db)
        self._count_beats(powers)
        level_db, bright_db = max(FLOOR_DB, _db(power)), _db(max(bright, 1e-12)) - _db(power)
        return Sounding(level_db, bright_db, self._beats[1], echo, own_db, 1000 * FRAME_S * self._gaps)

    def _loudest_heard(self) -> float:
        """Mean square of the loudest stretch of the voice, with the echo."""
        heard = np.array(self._heard)
        return float(heard[_loudest(heard) :][:STRETCH].mean())

    def _count_beats(self, powers: NDArray[np.float64]) -> None:
        left, two = self._beats
        self._beats = (left - 1, two) if left else (BEATS_EVERY - 1, has_two_beats(powers))


def _db(power: float) -> float:
    return 10 * math.log10(max(power, 1e-12))


def _loudest(powers: NDArray[np.float64]) -> int:
    """Where the loudest `STRETCH` frames begin."""
    if len(powers) <= STRETCH:
        return 0
    sums = np.concatenate(([0.0], np.cumsum(powers)))
    return int(np.argmax(sums[STRETCH:] - sums[:-STRETCH]))


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
