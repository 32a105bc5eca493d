"""Cuts the call's samples into units: one second each, a turn's last one may be short.

Every sample of the call is in exactly one unit, and appends of any size give byte-identical units.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from model_server.protocol import SHORTEST_UNIT_SAMPLES, UNIT_MULTIPLE, UNIT_SAMPLES
from realtime.media.decoder import Samples

MAX_UNDO_SAMPLES = 12 * UNIT_SAMPLES
"""A cut with more samples behind it cannot be undone any more: nobody goes on with their turn after so long."""


class CutGone(RuntimeError):
    """There is no cut that could still be undone."""


@dataclass(frozen=True, slots=True, eq=False)
class CutUnit:
    """One closed unit of the call.

    `start`: position of its first sample (16 kHz). `samples`: the call's own samples, shape [1..16 000]. `padded`:
    PCM16 LE of them with zeros up to a length the model takes. `pictures`: JPEG files. `last`: it ends the person's
    turn. `voiced`: the person spoke in it.
    """

    start: int
    samples: Samples
    padded: bytes
    pictures: list[bytes]
    last: bool = False
    voiced: bool = False

    @property
    def end(self) -> int:
        """The position after its last sample."""
        return self.start + len(self.samples)


class UnitCutter:
    """One call's cutter. `start` is the position of the first sample that will be appended."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        """Position of the open unit's first sample."""
        self._open = np.empty(UNIT_SAMPLES, dtype=np.int16)
        self._filled = 0
        self._picture: _Picture | None = None
        self._speech: deque[_Span] = deque()
        self._undo: _Undo | None = None

    @property
    def end(self) -> int:
        """The position after the last sample that was appended."""
        return self.start + self._filled

    @property
    def can_cancel(self) -> bool:
        """Whether `cancel_cut` would work."""
        return self._undo is not None

    def append(self, samples: Samples) -> list[CutUnit]:
        """The next samples of the call, shape [any]; returns the units they complete."""
        units: list[CutUnit] = []
        taken = 0
        while taken < len(samples):
            piece = samples[taken : taken + UNIT_SAMPLES - self._filled]
            self._open[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            taken += len(piece)
            if self._filled == UNIT_SAMPLES:
                units.append(self._close(last=False))
        return units

    def picture(self, jpeg: bytes) -> None:
        """The newest picture; the open unit takes it when it closes, unless a newer one comes."""
        self._picture = _Picture(self.end, jpeg)
        if self._undo is not None:
            self._undo.pictures.append(self._picture)

    def voice_from(self, position: int) -> None:
        """The person speaks since `position`, until `voice_until`."""
        if not self._speech or self._speech[-1].end is not None:
            self._speech.append(_Span(position))

    def voice_until(self, position: int) -> None:
        """The person's speech ended before `position`."""
        if self._speech and self._speech[-1].end is None:
            self._speech[-1] = _Span(self._speech[-1].start, position)

    def cut_turn(self, before: CutUnit | None = None) -> CutUnit | None:
        """Close the turn's last unit here, short or not; the next unit starts at the very next sample.

        `before` is the unit right before, if it was not sent yet: a tail too short for a unit of its own joins it where
        both fit one second (the result replaces it), else the tail is padded to 200 ms. None when there is no tail and
        nothing to join: the turn's last unit is already out.
        """
        if before is not None and before.end != self.start:
            raise ValueError(f"the unit before ends at sample {self.start}, got one that ends at {before.end}")
        self._undo = _Undo(self.start, [], [] if self._picture is None else [self._picture])
        if self._filled < SHORTEST_UNIT_SAMPLES and before is not None and _fits(before, self._filled):
            self._undo.reach_back(before)
            return self._join(before)
        return self._close(last=True) if self._filled else None

    def confirm_cut(self) -> None:
        """The cut stays: the turn is over."""
        self._undo = None

    def cancel_cut(self) -> list[CutUnit]:
        """The turn goes on: since the cut unit's first sample all is cut again, as if there had been no cut.

        Returns the units that are complete by now; they replace the cut one and all that closed since. Raises `CutGone`
        when no cut was made, it was confirmed, or is more than 12 s ago.
        """
        undo = self._undo
        if undo is None:
            raise CutGone("no cut to undo: none was made, it was confirmed, or it is too long ago")
        samples = np.concatenate((*undo.closed, self._open[: self._filled]))
        self._undo = self._picture = None
        self.start, self._filled = undo.start, 0
        units: list[CutUnit] = []
        for picture in undo.pictures:
            units += self.append(samples[self.end - undo.start : picture.position - undo.start])
            self._picture = picture
        return units + self.append(samples[self.end - undo.start :])

    def _join(self, before: CutUnit) -> CutUnit:
        tail = self._close(last=True) if self._filled else None
        if tail is None:
            return replace(before, last=True)
        samples = np.concatenate((before.samples, tail.samples))
        return CutUnit(
            start=before.start,
            samples=samples,
            padded=_pad(samples),
            pictures=tail.pictures or before.pictures,
            last=True,
            voiced=before.voiced or tail.voiced,
        )

    def _close(self, *, last: bool) -> CutUnit:
        samples = self._open[: self._filled].copy()
        unit = CutUnit(
            start=self.start,
            samples=samples,
            padded=_pad(samples),
            pictures=[] if self._picture is None else [self._picture.jpeg],
            last=last,
            voiced=any(span.start < self.end and (span.end is None or span.end > self.start) for span in self._speech),
        )
        self.start, self._filled, self._picture = unit.end, 0, None
        if self._undo is not None:
            self._undo.closed.append(samples)
            if self.start - self._undo.start > MAX_UNDO_SAMPLES:
                self._undo = None
        self._forget_speech(self.start if self._undo is None else self._undo.start)
        return unit

    def _forget_speech(self, before: int) -> None:
        while self._speech and self._speech[0].end is not None and self._speech[0].end <= before:
            self._speech.popleft()


@dataclass(frozen=True, slots=True)
class _Span:
    """Speech from `start` to before `end`; None: it goes on."""

    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture that came when the call had `position` samples."""

    position: int
    jpeg: bytes


@dataclass(slots=True)
class _Undo:
    """What undoes a cut: where the cut unit starts, the samples that closed since, and the pictures that came."""

    start: int
    closed: list[Samples]
    pictures: list[_Picture]

    def reach_back(self, before: CutUnit) -> None:
        """The cut unit begins with the one before it."""
        self.start = before.start
        self.closed.insert(0, before.samples)
        self.pictures[:0] = [_Picture(before.start, jpeg) for jpeg in before.pictures[-1:]]


def _fits(before: CutUnit, tail: int) -> bool:
    return len(before.samples) + tail <= UNIT_SAMPLES


def _pad(samples: Samples) -> bytes:
    steps = -(-len(samples) // UNIT_MULTIPLE)
    length = max(SHORTEST_UNIT_SAMPLES, steps * UNIT_MULTIPLE)
    return samples.astype("<i2").tobytes() + bytes(2 * (length - len(samples)))
