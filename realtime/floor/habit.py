"""What is usual for one person, learned from a few of their own: the middle of something log-normal. Sans-I/O."""

from __future__ import annotations

import math


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
