"""The budgets: one typed row for each table of `budgets.toml`, the only place they are read from."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

FILE = Path(__file__).with_name("budgets.toml")

Statistic = Literal["median", "p50", "p95", "p99", "max", "sum"]


@dataclass(frozen=True, slots=True)
class Budget:
    """One promise: of the repetitions' `statistic` at most `limit` (None: printed, never missed), in `unit`."""

    name: str
    what: str
    unit: str
    statistic: Statistic
    limit: float | None = None

    def value(self, repetitions: Sequence[float]) -> float:
        """What the repetitions amount to."""
        match self.statistic:
            case "sum":
                return float(np.sum(repetitions))
            case "max":
                return float(np.max(repetitions))
            case "median" | "p50":
                return float(np.median(repetitions))
            case "p95" | "p99":
                return float(np.percentile(repetitions, float(self.statistic[1:])))

    def holds(self, value: float) -> bool:
        """Whether the promise is kept."""
        return self.limit is None or value <= self.limit


def load(file: Path = FILE) -> dict[str, Budget]:
    """Every budget by name, in the order of the file."""
    tables = tomllib.loads(file.read_text())
    return {name: Budget(name=name, **table) for name, table in tables.items()}
