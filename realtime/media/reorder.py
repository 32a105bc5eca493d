"""Puts the packets of one RTP stream in order: no wait without loss, a bounded one behind a gap."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 3
"""A missing packet is given up when one arrives that is this many numbers after it."""

WAIT_S = 0.06
"""A packet waits at most this long behind a gap, in seconds."""

MAX_DROPOUT = 3_000
MAX_MISORDER = 100
"""Jumps of the sequence number beyond these are a new beginning, once two packets agree (RFC 3550 appendix A.1)."""


class Arrival(Enum):
    """What became of an arrived packet."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    LATE = "late"
    """Its place was given up already, or its number makes no sense (yet)."""


@dataclass(frozen=True, slots=True)
class Ordered(Generic[T]):
    """A packet in its place: `lost` numbers before it never came, it waited `waited` seconds."""

    item: T
    lost: int
    waited: float


class ReorderBuffer(Generic[T]):
    """One stream's packets by sequence number (16 bit, wrapping). Holds at most `DEPTH` of them."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._waiting: dict[int, tuple[T, float]] = {}
        self._seen = 0
        self._restart_at: int | None = None
        self._lost_before = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def deadline(self) -> float | None:
        """When `take` must be called though nothing arrives, None while nothing waits."""
        return min(arrived for _, arrived in self._waiting.values()) + WAIT_S if self._waiting else None

    def add(self, sequence: int, item: T, now: float) -> Arrival:
        """A packet arrived; `take` says what can go on."""
        if self._next is None:
            self._next = sequence
        ahead = _signed_16(sequence - self._next)
        if not -MAX_MISORDER <= ahead < MAX_DROPOUT:
            if sequence != self._restart_at:
                self._restart_at = sequence + 1 & 0xFFFF
                return Arrival.LATE
            self._restart(sequence)
            ahead = 0
        number = self._next + ahead
        if number in self._waiting or self._was_seen(ahead):
            return Arrival.DUPLICATE
        if ahead < 0:
            return Arrival.LATE
        self._waiting[number] = (item, now)
        return Arrival.TAKEN

    def take(self, now: float) -> list[Ordered[T]]:
        """Everything that need not wait (any longer), in order."""
        ready: list[Ordered[T]] = []
        while self._waiting:
            number = min(self._waiting)
            if number != self._next and not self._is_given_up(now):
                break
            ready.append(self._take_out(number, now))
        return ready

    def flush(self, now: float) -> list[Ordered[T]]:
        """Everything that waits, in order: nothing more will come."""
        return [self._take_out(number, now) for number in sorted(self._waiting)]

    def _is_given_up(self, now: float) -> bool:
        assert self._next is not None
        assert self.deadline is not None
        return max(self._waiting) - self._next >= DEPTH or now >= self.deadline

    def _take_out(self, number: int, now: float) -> Ordered[T]:
        assert self._next is not None
        item, arrived = self._waiting.pop(number)
        skipped = number - self._next
        lost, self._lost_before = self._lost_before + skipped, 0
        # Bit k of the mask: whether the packet k + 1 numbers before the next one came.
        self._seen = (self._seen << (skipped + 1) | 1) & (1 << MAX_MISORDER) - 1 if skipped < MAX_MISORDER else 1
        self._next = number + 1
        return Ordered(item, lost, now - arrived)

    def _was_seen(self, ahead: int) -> bool:
        return ahead < 0 and bool(self._seen >> (-ahead - 1) & 1)

    def _restart(self, sequence: int) -> None:
        """The sender counts anew; the first packet that said so was taken for a stray one and is lost."""
        self._next, self._seen, self._restart_at = sequence, 0, None
        self._lost_before += 1
        self._waiting.clear()


def _signed_16(difference: int) -> int:
    return ((difference + 0x8000) & 0xFFFF) - 0x8000
