"""How loud and how bright the voice is that the detector hears, without the room's noise and the echo. Sans-I/O."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realtime.floor.interruption import Sign, Sounding
from realtime.media.bands import FRAME_S, ONES, Bands, bands
from realtime.media.decoder import Samples
from realtime.media.echo import MARGIN, EchoModel
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

FRESH, LOOK_LATER = 20, 3
"""Of a voice that has lasted longer (frames), only every third frame is looked at."""

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

DOUBTFUL = 0.5
"""What is less like the assistant than this is no echo of it, though none is known yet: an echo alone is 0.55 and more
alike, the word of somebody else 0.45 and less."""

CLEAR_OWN_DB = -4.6
CLEAR_DB = 8.0
"""Where the echo is known: a voice of which taking it off leaves so much, and that is so much louder, is none."""

POSSIBLE = 0.1
"""A window that is a voice with this probability may be the first of a word."""

HISS = 0.4
"""Two frames with so much energy in their differences may be the "s" of "stop", which no detector takes for a voice."""

Powers = tuple[float, float]
"""Mean square of a frame's samples, and of their differences."""

Column = NDArray[np.float64]
"""One of a frame's powers, for every frame of a voice."""


class Frame(NamedTuple):
    """One frame's mean squares: of what is surely no echo, of what is likely none and its differences, of all of it."""

    sure: float
    likely: float
    bright: float
    heard: float


SURE, LIKELY, BRIGHT, HEARD = range(4)


class VoiceMeter:
    """Feed it every frame; it tells of the voice that goes on, None while there is none."""

    def __init__(self) -> None:
        self._room: Powers | None = None
        self._room_frame = np.zeros(len(Frame._fields))
        self._recent: deque[Frame] = deque(maxlen=BEFORE)
        self._table = np.zeros((4 * LATEST, len(Frame._fields)))
        self._end = 0
        self._beats = (0, False)
        self._latest: Sounding | None = None
        self._gaps = 0
        self._shaken = False
        self._echo = EchoModel()

    @property
    def echo_db(self) -> float | None:
        """Level of the assistant's echo while it sounds, dB of full scale; None while no echo was found."""
        return self._echo.level_db

    @property
    def room_db(self) -> float:
        """Level of the room's noise, dB of full scale."""
        return FLOOR_DB if self._room is None else _db(self._room[0])

    def feed(
        self, samples: Samples, speaking: bool, played: Bands | None = None, *, shaken: bool = False
    ) -> Sounding | None:
        """The next frame, shape [1..]; `speaking`: whether the detector hears a voice.

        `played`: what the loudspeaker gave meanwhile, None for silence; `shaken`: whether that may be a little off.
        """
        self._shaken = shaken
        wide = samples.astype(np.float32)
        wide /= 32768
        steps = wide[1:] - wide[:-1]
        power, bright = float(wide @ wide) / len(wide), float(steps @ steps) / len(wide)
        sure, likely = self._own_shares(wide, played, speaking)
        frame = Frame(power * sure, power * likely, bright * likely, power)
        if not speaking:
            self._quiet(frame)
            return None
        if not self._end:
            for each in self._recent:
                self._append(each)
            self._beats, self._latest = (0, False), None
        self._append(frame)
        self._gaps = self._gaps + 1 if self._is_gap(frame.likely) else 0
        if self._latest is None or (self._is_new if not self._gaps else self._gaps % LOOK_EVERY == 0):
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

    def _own_shares(self, wide: NDArray[np.float32], played: Bands | None, speaking: bool) -> tuple[float, float]:
        """How much of the frame's power is surely, and how much likely, no echo of what was played."""
        self._echo.plays(played)
        if self._echo.idle or len(wide) != 320:
            return 1.0, 1.0
        heard = bands(wide)
        echo = self._echo.feed(heard, speaking=speaking)
        if self._echo.undecided:
            return BY_DEFAULT, BY_DEFAULT
        all_of_it, most = float(heard @ ONES), float(echo @ ONES)
        if not most:
            return 1.0, 1.0
        if all_of_it <= 0:
            return 0.0, 0.0
        sure = all_of_it - float(np.minimum(heard, echo) @ ONES)
        likely = all_of_it - float(np.minimum(heard, echo / MARGIN) @ ONES)
        if most > self._echo.level:
            sure -= WANDERS * self._echo.level
        return max(0.0, sure) / all_of_it, likely / all_of_it

    def _above_room(self, frame: Frame) -> Powers:
        assert self._room is not None
        share = frame.sure / frame.likely if frame.likely > 0 else 0.0
        bright = frame.bright * share
        return (
            max(frame.sure - ROOM_MARGIN * self._room[0], 0.01 * frame.sure),
            max(bright - ROOM_MARGIN * self._room[1], 0.01 * bright),
        )

    def _append(self, frame: Frame) -> None:
        if self._end == len(self._table):
            self._table[:LATEST] = self._table[-LATEST:]
            self._end = LATEST
        self._table[self._end] = frame
        self._end += 1

    def _quiet(self, frame: Frame) -> None:
        self._end = 0
        if len(self._recent) == BEFORE:
            # What is a few frames old was no voice's beginning.
            self._follow(self._recent[0])
        self._recent.append(frame)

    def _follow(self, frame: Frame) -> None:
        bright = frame.bright * frame.sure / frame.likely if frame.likely > 0 else 0.0
        room = self._room or (frame.sure, bright)
        self._room = (room[0] + FOLLOW * (frame.sure - room[0]), room[1] + FOLLOW * (bright - room[1]))
        power, bright = self._room
        self._room_frame = np.array((power, power, bright, power))

    @property
    def _is_new(self) -> bool:
        """Whether the newest frame is worth a look: every one of a voice that has just begun."""
        return self._end <= FRESH or self._end % LOOK_LATER == 0

    def _is_gap(self, power: float) -> bool:
        return self._latest is not None and _db(power) < max(self._latest.level_db + GAP_DB, self.room_db)

    def _sounding(self) -> Sounding:
        voice = self._table[max(0, self._end - LATEST) : self._end]
        table = voice if self._room is None else np.maximum(voice - self._room_frame, 0.01 * voice)
        echo, own_db = self._echo.possible, 0.0
        power, bright = _loudest_mean(table[:, LIKELY], table[:, BRIGHT])
        if power <= 0:
            return Sounding(FLOOR_DB, 0.0, maybe_echo=echo, own_db=own_db)
        self._count_beats(table[:, LIKELY])
        level_db = sure_db = max(FLOOR_DB, _db(power))
        if echo:
            sure_db = max(FLOOR_DB, _db(_loudest_mean(table[:, SURE])[0]))
            heard, sure = _loudest_mean(table[:, HEARD], table[:, SURE])
            own_db = min(0.0, _db(sure) - _db(heard))
        bright_db, like_echo = _db(max(bright, 1e-12)) - _db(power), echo and self._is_like_echo(level_db, own_db)
        return Sounding(level_db, bright_db, self._beats[1], echo, own_db, self._gap_ms, sure_db, like_echo)

    @property
    def _gap_ms(self) -> float:
        return 1000 * FRAME_S * self._gaps

    def _is_like_echo(self, level_db: float, own_db: float) -> bool:
        """Whether the voice is no more than what the assistant says, as far as that is known."""
        if self._shaken:
            return True
        undecided = self._echo.undecided
        # Before it ends nothing is lost by waiting.
        if (undecided or not self._echo.settled) and (not self._gaps or self._echo.likeness() >= DOUBTFUL):
            return True
        if undecided:
            return False
        echo_db = self._echo.level_db
        return own_db < CLEAR_OWN_DB or (echo_db is not None and level_db < echo_db + CLEAR_DB)

    def _count_beats(self, powers: Column) -> None:
        left, two = self._beats
        self._beats = (left - 1, two) if left else (BEATS_EVERY - 1, has_two_beats(powers))


def _db(power: float) -> float:
    return 10 * math.log10(max(power, 1e-12))


def _loudest_mean(powers: Column, beside: Column | None = None) -> tuple[float, float]:
    """Mean of the loudest stretch where it is no gap, and of another column there (else 0)."""
    start = 0
    if len(powers) > STRETCH:
        sums = np.cumsum(powers)
        sums[STRETCH:] -= sums[:-STRETCH].copy()
        start = int(np.argmax(sums[STRETCH - 1 :]))
    stretch = powers[start : start + STRETCH]
    active = stretch >= ACTIVE * powers.max()
    count = int(np.count_nonzero(active))
    if not count:
        return 0.0, 0.0
    other = 0.0 if beside is None else float(beside[start : start + STRETCH] @ active)
    return float(stretch @ active) / count, other / count


def has_two_beats(powers: Column) -> bool:
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
