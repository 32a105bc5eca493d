"""Cuts the call's samples into units: one second each, a turn's last one may be short.

Every sample of the call is in exactly one unit, and appends of any size give byte-identical units.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from model_server.protocol import SHORTEST_UNIT_SAMPLES, UNIT_MULTIPLE, UNIT_SAMPLES
from realtime.media.decoder import Samples


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
        self._picture: bytes | None = None
        self._speech: deque[_Span] = deque()
        self._cut: CutUnit | None = None

    @property
    def end(self) -> int:
        """The position after the last sample that was appended."""
        return self.start + self._filled

    @property
    def can_cancel(self) -> bool:
        """Whether `cancel_cut` would work."""
        return self._cut is not None

    def append(self, samples: Samples) -> list[CutUnit]:
        """The next samples of the call, shape [any]; returns the units they complete, which confirms a cut."""
        units: list[CutUnit] = []
        taken = 0
        while taken < len(samples):
            piece = samples[taken : taken + UNIT_SAMPLES - self._filled]
            self._open[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            taken += len(piece)
            if self._filled == UNIT_SAMPLES:
                units.append(self._close(last=False))
                self._cut = None
        return units

    def picture(self, jpeg: bytes) -> None:
        """The newest picture; the open unit takes it when it closes, unless a newer one comes."""
        self._picture = jpeg

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
        if self._filled < SHORTEST_UNIT_SAMPLES and before is not None and _fits(before, self._filled):
            self._cut = self._join(before)
        elif self._filled:
            self._cut = self._close(last=True)
        else:
            self._cut = None
        return self._cut

    def confirm_cut(self) -> None:
        """The cut stays: the turn is over."""
        self._cut = None

    def cancel_cut(self) -> list[CutUnit]:
        """The turn goes on: the cut unit's samples open the unit again and go out with it. Raises `CutGone`.

        Returns the units that are complete by now. Possible until another unit closes or the cut is confirmed.
        """
        if self._cut is None:
            raise CutGone("no cut to undo: none was made, or it was confirmed, or a later unit is closed already")
        cut, self._cut = self._cut, None
        since = self._open[: self._filled].copy()
        self.start, self._filled = cut.start, 0
        if cut.voiced:
            self._speech.appendleft(_Span(cut.start, cut.end))
        if self._picture is None and cut.pictures:
            self._picture = cut.pictures[-1]
        return self.append(np.concatenate((cut.samples, since)))

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
            pictures=[] if self._picture is None else [self._picture],
            last=last,
            voiced=any(span.start < self.end and (span.end is None or span.end > self.start) for span in self._speech),
        )
        self.start, self._filled, self._picture = unit.end, 0, None
        while self._speech and self._speech[0].end is not None and self._speech[0].end <= self.start:
            self._speech.popleft()
        return unit


@dataclass(frozen=True, slots=True)
class _Span:
    """Speech from `start` to before `end`; None: it goes on."""

    start: int
    end: int | None = None


def _fits(before: CutUnit, tail: int) -> bool:
    return len(before.samples) + tail <= UNIT_SAMPLES


def _pad(samples: Samples) -> bytes:
    steps = -(-len(samples) // UNIT_MULTIPLE)
    length = max(SHORTEST_UNIT_SAMPLES, steps * UNIT_MULTIPLE)
    return samples.astype("<i2").tobytes() + bytes(2 * (length - len(samples)))
