"""A network on a virtual clock: when each 20 ms packet of a microphone arrives, if it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PACKET_S = 0.02
REORDERED = 0.002
"""Share of packets that one sent later overtakes."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Packet `index` arrives at `at` seconds; None: it is lost."""

    index: int
    at: float | None


def packets(
    count: int, *, loss: float, rng: np.random.Generator, jitter_ms: float = 2.0, drift: float = 0.0, first: int = 0
) -> Iterator[Sent]:
    """`count` packets from number `first` on, in the order they are sent.

    Delays are gamma distributed (mean `jitter_ms`, tails of five times that) and, as in a queue, seldom change the
    order. `drift`: by how much the sender's clock runs fast.
    """
    before = 0.0
    for index in range(first, first + count):
        delayed = index * PACKET_S / (1 + drift) + rng.gamma(1.0, jitter_ms / 1000)
        at = max(before, delayed)
        if rng.random() < REORDERED:
            at += 1.5 * PACKET_S
        else:
            before = at
        yield Sent(index, None if rng.random() < loss else at)


def arrivals(sent: Iterator[Sent]) -> list[tuple[float, int]]:
    """(time, number) of what arrives, in the order of arrival."""
    return sorted((packet.at, packet.index) for packet in sent if packet.at is not None)
