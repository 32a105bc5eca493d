"""How much of what the microphone hears is the assistant itself. Sans-I/O.

The page says what it played, so its power in each band is known frame by frame. Where the microphone's power follows
it, always so much later and so much softer, that part is echo: the browser's echo canceller left it, or there is none.
Powers alone are compared, in frames of 20 ms, so neither a drifting clock nor a bent loudspeaker matters; in bands,
because a voice has its power elsewhere than the echo of another at that moment.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realtime.media.bands import BANDS, ONES, Bands

Table = NDArray[np.float64]
"""Bands of frames, oldest first, shape [frames, BANDS]."""

KEPT = 200
"""Frames that are compared: 4 s."""

LAGS = 32
"""The echo comes within so many frames: 640 ms."""

SEEK_EVERY, REFINE_EVERY = 5, 50
"""Frames between two searches for the delay, until it is decided whether there is an echo, and from then on."""

AFRESH_EVERY = 5
"""Every so many searches look at all delays, also when one is known; the others only near it."""

NEAR = 2
"""Frames by which a delay drifts between two searches at most."""

FIT_EVERY = 10
"""Frames between two looks at how loud the echo is."""

ENOUGH = 20
"""So many frames in which the assistant sounds are needed for a search."""

ENOUGH_TO_DOUBT = 30
"""With so many frames since the assistant's first sound it can be said that it was no echo."""

DECIDED = 60
"""After so many frames in which the assistant sounds an echo would have been found."""

ALIKE = 0.6
"""From this mean correlation of the bands on the microphone's power is taken to follow the assistant's."""

LONG_ALIKE = 0.2
"""By so much less where 4 s were compared: in noise an echo is less like what it is of, and chance is rarer."""

OPEN = 0.47
"""As long as they are so much alike it is not decided that there is none, for up to 4 s."""

TAIL = 0.5
"""What of a frame's echo is still there in the next one: a room with an RT60 of 0.4 s."""

MARGIN = 6.0
"""Echo up to so many times (8 dB) what is expected is still echo."""

LATEST = 40
"""Frames that say how loud the echo is now: 0.8 s, because that wanders."""

LOUD = 0.03
"""Frames within 15 dB of the loudest say how loud the echo is."""

SOUNDING = 1e-9
"""Mean square of a frame (full scale 1) below which the assistant is silent."""

LINGERS = LAGS + 8
"""So many frames after the assistant's last sound there may still be echo."""

_SILENT = np.zeros(BANDS)


class EchoModel:
    """Feed it every frame's bands; it says how much of the microphone's may be echo."""

    def __init__(self) -> None:
        self._heard, self._played = np.zeros((2 * KEPT, BANDS)), np.zeros((2 * KEPT, BANDS))
        self._end = 0
        self._tail = _SILENT
        self._quiet = LINGERS
        self._since = 0
        self._sounded = 0
        self._guess, self._alike = -9, 0.0
        self._lag: int | None = None
        self._colour = _SILENT
        self._most = _SILENT
        """The most of what is played that may come back, by bands."""
        self._gain = 1.0
        self.level = 0.0
        """Mean power of the echo while the assistant sounds; 0 while none was found."""

    @property
    def idle(self) -> bool:
        """Whether there can be no echo now, so that frames need not be fed."""
        return self._quiet >= LINGERS

    @property
    def undecided(self) -> bool:
        """Whether the assistant has not sounded long enough yet to know if there is an echo."""
        return self._lag is None and self._sounded < (KEPT if self._alike >= OPEN else DECIDED)

    @property
    def settled(self) -> bool:
        """Whether the assistant has sounded for long enough that what is known of its echo can be relied on."""
        return self._sounded >= DECIDED

    @property
    def possible(self) -> bool:
        """Whether there may be echo now: one was found, or may yet be."""
        return not self.idle and (self._lag is not None or self.undecided)

    @property
    def lag_ms(self) -> int | None:
        """How long after the loudspeaker the microphone hears it; None while no echo was found."""
        return None if self._lag is None else 20 * self._lag

    @property
    def level_db(self) -> float | None:
        """Level of the echo while the assistant sounds, dB of full scale; None while no echo was found."""
        return None if self.level <= 0 else float(10 * np.log10(self.level))

    def plays(self, played: Bands | None) -> None:
        """What the loudspeaker gave in the next frame, None: nothing. Then, unless it is `idle`, `feed`."""
        sounds = played is not None and float(played @ ONES) > SOUNDING
        self._quiet = 0 if sounds else self._quiet + 1
        self._sounded += int(sounds)
        self._tail = TAIL * self._tail if played is None else played + TAIL * self._tail

    def feed(self, heard: Bands, *, speaking: bool = False) -> Bands:
        """What the microphone heard in this frame; returns the most that may be echo of it.

        `speaking`: whether it sounds like a voice. A sound that is over says most about a delay: its end says it, too.
        """
        self._append(heard)
        self._since += 1
        if self._quiet == 0 or (self.undecided and not speaking):
            if self._since % (SEEK_EVERY if self.undecided else REFINE_EVERY) == 0:
                self._search()
            if self._since % FIT_EVERY == 0:
                self._fit()
        if self._lag is None:
            return _SILENT
        aligned = self._end - 1 - self._lag
        if aligned < 0:
            return _SILENT
        loudest = self._played[aligned]
        if aligned > 0:
            loudest = np.maximum(loudest, self._played[aligned - 1])
        if self._lag > 0:
            loudest = np.maximum(loudest, self._played[aligned + 1])
        most: Bands = self._most * loudest
        return most

    def _append(self, heard: Bands) -> None:
        if self._end == len(self._heard):
            for table in (self._heard, self._played):
                table[:KEPT] = table[KEPT:]
            self._end = KEPT
        self._heard[self._end], self._played[self._end] = heard, self._tail
        self._end += 1

    def _tables(self) -> tuple[Table, Table]:
        """What was heard and played, from the first sound of the assistant on."""
        latest = slice(max(0, self._end - KEPT), self._end)
        heard, played = self._heard[latest], self._played[latest]
        first = int(np.argmax(played @ ONES > SOUNDING))
        return heard[first:], played[first:]

    def likeness(self) -> float:
        """How much alike microphone and assistant are so far, at the delay at which they are most: 0 to 1.

        1 while so little was heard that an echo may have hardly begun.
        """
        heard, played = self._tables()
        return 1.0 if len(played) < ENOUGH_TO_DOUBT else best_lag(np.sqrt(heard), np.sqrt(played), range(LAGS))[1]

    def _search(self) -> None:
        heard, played = self._tables()
        sounded = np.count_nonzero(played @ ONES > SOUNDING)
        if sounded < ENOUGH:
            return
        best, self._alike = best_lag(np.sqrt(heard), np.sqrt(played), self._likely_lags())
        if self._alike < ALIKE - LONG_ALIKE * max(0, int(sounded) - DECIDED) / KEPT:
            return
        # Chance does not find the same delay twice.
        guess, self._guess = self._guess, best
        if abs(best - guess) <= 1:
            self._lag = best
            self._fit()

    def _likely_lags(self) -> range:
        if self._lag is None or self._since % (AFRESH_EVERY * REFINE_EVERY) == 0:
            return range(LAGS)
        return range(max(0, self._lag - NEAR), min(LAGS, self._lag + NEAR + 1))

    def _fit(self) -> None:
        if self._lag is None:
            return
        heard, played = self._tables()
        heard, played = heard[self._lag :], played[: len(played) - self._lag]
        if len(played) < ENOUGH:
            return
        ratio = heard / np.maximum(played, SOUNDING)
        # The median: a word of the person must not make the echo louder.
        colour = medians(ratio, played > LOUD * played.max(axis=0))
        self._colour = np.where(np.isfinite(colour), colour, self._colour)
        latest = (played[-LATEST:] > LOUD * played[-LATEST:].max(axis=0)) & (self._colour > 0)
        if np.count_nonzero(latest) > ENOUGH:
            now = ratio[-LATEST:] / np.maximum(self._colour, SOUNDING)
            self._gain = float(np.median(now[latest]))
        self._most = MARGIN * self._gain * self._colour
        powers = played @ ONES
        sounding = played[powers > LOUD * powers.max()]
        self.level = self._gain * float(self._colour @ sounding.mean(axis=0))


def medians(table: Table, of: NDArray[np.bool_]) -> Bands:
    """The median of each column where `of` says; infinite in a column of which nothing is meant."""
    ordered = np.sort(np.where(of, table, np.inf), axis=0)
    counts = of.sum(axis=0)
    columns = np.arange(table.shape[1])
    middle: Bands = ordered[np.maximum(counts - 1, 0) // 2, columns] + ordered[counts // 2, columns]
    return 0.5 * middle


def best_lag(heard: Table, played: Table, lags: range) -> tuple[int, float]:
    """By how many frames one table follows the other best, and how much alike they are then (mean correlation)."""
    frames = len(played)
    tried = np.arange(lags.start, min(lags.stop, frames - ENOUGH))
    if not len(tried):
        return 0, 0.0
    heard, played = heard - heard.mean(axis=0), played - played.mean(axis=0)  # Sums of small numbers are exact enough.
    counts, ends = (frames - tried)[:, None], frames - tried
    a, aa = (_sums(table)[-1] - _sums(table)[tried] for table in (heard, heard * heard))
    b, bb = (_sums(table)[ends] for table in (played, played * played))
    both = np.stack([np.correlate(heard[:, band], played[:, band], "full") for band in range(BANDS)], axis=1)
    shared = both[frames - 1 + tried] - a * b / counts
    sizes = np.sqrt(np.maximum((aa - a * a / counts) * (bb - b * b / counts), 0.0))
    alike = (shared / np.maximum(sizes, 1e-12)).mean(axis=1)
    best = int(np.argmax(alike))
    return (int(tried[best]), float(alike[best])) if alike[best] > 0 else (0, 0.0)


def _sums(table: Table) -> Table:
    """Sums [frames + 1, BANDS] of the first 0, 1, ... frames."""
    return np.concatenate((np.zeros((1, table.shape[1])), table.cumsum(axis=0)))
