"""What is usual for one person, learned from a few of their own: the middle of something log-normal, and after how
many stretches of speech their turns end. Sans-I/O.
"""

from __future__ import annotations

import math
from collections import Counter


class Habit:
    """A guess that weighs as much as `weight` observations, and what was observed since, kept within `bounds`."""

    def __init__(self, guess: float, weight: float, bounds: tuple[float, float]) -> None:
        self._weight = weight
        self._logs = weight * math.log(guess)
        self._bounds = bounds

    def learn(self, value: float) -> None:
        """It was `value` this time."""
        self._weight += 1
        self._logs += math.log(min(max(value, self._bounds[0]), self._bounds[1]))

    @property
    def middle(self) -> float:
        """The median, as far as it is known."""
        return math.exp(self._logs / self._weight)


STRANGER = -1.4
"""Logarithm of the odds that a stranger's turn is over after its first stretch;"""

STRANGER_POWER = 2.3
"""by this power they grow with the number of stretches."""

STRANGER_WEIGHT = 9.0
"""They weigh as much as so many turns."""


class Stretches:
    """How often one person's turns ended, and went on, after each number of stretches."""

    def __init__(self) -> None:
        self._ended: Counter[int] = Counter()
        self._went_on: Counter[int] = Counter()

    def ended(self, stretches: int) -> None:
        """A turn was over after so many."""
        self._ended[stretches] += 1

    def went_on(self, stretches: int) -> None:
        """A turn went on after so many."""
        self._went_on[stretches] += 1

    def log_odds(self, stretches: int) -> float:
        """Logarithm of the odds that a turn which has so many is over."""
        over = 1 / (1 + math.exp(-STRANGER - STRANGER_POWER * math.log(max(stretches, 1))))
        ended = STRANGER_WEIGHT * over + self._ended[stretches]
        return math.log(ended / (STRANGER_WEIGHT * (1 - over) + self._went_on[stretches]))
