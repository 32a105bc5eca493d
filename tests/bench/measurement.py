"""What one measurement is: named rows, and a coroutine that repeats what they are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Repetitions = dict[str, list[float]]
"""By row: one figure for each repetition."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure. `quick`: fewer repetitions, for a look. `calls`: of the load rows, instead of 10 and 40."""

    quick: bool = False
    calls: int | None = None

    def times(self, full: int, quick: int) -> int:
        """How often to repeat."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Measurement:
    """Rows that one set-up measures together."""

    rows: tuple[str, ...]
    run: Callable[[Options], Awaitable[Repetitions]]

    def serves(self, wanted: str) -> bool:
        """Whether `--only wanted` asks for it: part of a row's name is enough."""
        return any(wanted in row for row in self.rows)
