"""The rows of `rows.toml`, and what a row amounts to: its value with a 95 % interval that resamples whole calls."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tests.bench.floor.verdicts import Figures

FILE = Path(__file__).with_name("rows.toml")
RESAMPLES = 400
Z = 1.96

Statistic = Literal["share", "median", "p95", "per_10_minutes"]


@dataclass(frozen=True, slots=True)
class Row:
    """One promise: the `statistic` of a `metric` under a `condition` is at most `most`, at least `least`."""

    name: str
    what: str
    condition: str
    metric: str
    statistic: Statistic
    most: float | None = None
    least: float | None = None

    @property
    def limit(self) -> str:
        """The promise in words."""
        if self.most is not None:
            return f"<= {self.form(self.most)}"
        return "" if self.least is None else f">= {self.form(self.least)}"

    def form(self, value: float) -> str:
        """A value in the row's unit."""
        match self.statistic:
            case "share":
                return f"{100 * value:.1f} %"
            case "per_10_minutes":
                return f"{value:.1f}"
            case _:
                return f"{value:.0f}" if self.metric == "words_off" else f"{value:.0f} ms"


@dataclass(frozen=True, slots=True)
class Measured:
    """A row's value (None: nothing to measure, a miss where something was promised), its interval, and of how many."""

    row: Row
    value: float | None
    low: float = 0.0
    high: float = 0.0
    count: int = 0

    @property
    def ok(self) -> bool:
        """Whether the promise is kept."""
        if self.row.most is None and self.row.least is None:
            return True
        if self.value is None:
            return False
        above = self.row.least is None or self.value >= self.row.least
        return above and (self.row.most is None or self.value <= self.row.most)


def load(file: Path = FILE) -> dict[str, Row]:
    """Every row by name, in the order of the file."""
    return {name: Row(name=name, **table) for name, table in tomllib.loads(file.read_text()).items()}


def measure(row: Row, calls: Sequence[Figures]) -> Measured:
    """What these calls amount to."""
    figures = [np.asarray(call[row.metric]) for call in calls if call.get(row.metric)]
    if not figures:
        return Measured(row, None)
    count = sum(len(each) for each in figures)
    if row.statistic == "per_10_minutes":
        minutes = np.array([call["minutes"][0] for call in calls])
        return Measured(row, *_rate(np.array([each.sum() for each in figures]), minutes), len(calls))
    if row.statistic == "share":
        return Measured(row, *_share(figures), count)
    return Measured(row, *_quantile(figures, 0.5 if row.statistic == "median" else 0.95), count)


def _picks(calls: int) -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(calls, size=(RESAMPLES, calls))


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _share(figures: list[NDArray[np.float64]]) -> tuple[float, float, float]:
    """Where all agree, resampling says nothing: there the bounds are Wilson's."""
    sums, sizes = np.array([each.sum() for each in figures]), np.array([len(each) for each in figures])
    share, count = float(sums.sum() / sizes.sum()), int(sizes.sum())
    if share in (0.0, 1.0):
        reach = Z**2 / (count + Z**2)
        return share, max(0.0, share - reach), min(1.0, share + reach)
    picks = _picks(len(figures))
    return share, *_middle(sums[picks].sum(1) / sizes[picks].sum(1))


def _rate(sums: NDArray[np.float64], minutes: NDArray[np.float64]) -> tuple[float, float, float]:
    """Where nothing happened, at most 3 did, 95 times in 100 (the rule of three)."""
    rate = float(10 * sums.sum() / minutes.sum())
    if not sums.any():
        return 0.0, 0.0, 30 / float(minutes.sum())
    picks = _picks(len(sums))
    return rate, *_middle(10 * sums[picks].sum(1) / minutes[picks].sum(1))


def _quantile(figures: list[NDArray[np.float64]], part: float) -> tuple[float, float, float]:
    values = [np.quantile(np.concatenate([figures[pick] for pick in picks]), part) for picks in _picks(len(figures))]
    return float(np.quantile(np.concatenate(figures), part)), *_middle(np.array(values))
