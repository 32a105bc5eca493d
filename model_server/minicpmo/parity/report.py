"""What was compared, how far it was off, and whether that is within the tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from model_server.minicpmo.parity.vectors import INDEX, Node, VectorSet


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; an `error` of infinity is a value of another shape, text or id."""

    file: str
    key: str
    error: float
    tolerance: float
    detail: str = ""

    @property
    def holds(self) -> bool:
        return self.error <= self.tolerance


class Report:
    """Every comparison of one run, in order."""

    def __init__(self, vectors: VectorSet) -> None:
        self.vectors = vectors
        self.rows: list[Row] = []

    @property
    def misses(self) -> list[Row]:
        return [row for row in self.rows if not row.holds]

    def close(
        self, file: str, key: str, ours: Any, tolerance: float, change: Callable[[Any], Any] = lambda x: x
    ) -> None:
        """Compare with the array `key` (first put through `change`): the largest absolute difference counts."""
        self.near(file, key, ours, change(self.vectors.array(file, key)), tolerance)

    def near(self, file: str, key: str, ours: Any, theirs: Any, tolerance: float) -> None:
        """Compare two arrays of numbers."""
        mine, golden = _array(ours), _array(theirs)
        if mine.shape != golden.shape:
            self._other(file, key, f"shape {mine.shape}, expected {golden.shape}")
        elif golden.size == 0:
            self.rows.append(Row(file, key, 0.0, tolerance))
        else:
            error = float(np.max(np.abs(mine.astype(np.float64) - golden.astype(np.float64))))
            self.rows.append(Row(file, key, np.inf if np.isnan(error) else error, tolerance))

    def equal(self, file: str, key: str, ours: Any, theirs: Any) -> None:
        """Compare ids, texts, lengths: all or nothing. Arrays and tensors compare as nested lists."""
        mine, golden = _plain(ours), _plain(theirs)
        if mine == golden:
            self.rows.append(Row(file, key, 0.0, 0.0))
        else:
            self._other(file, key, f"{_short(mine)}, expected {_short(golden)}")

    def same(self, node: Node, ours: Any) -> None:
        """Compare with a value of the index: all or nothing."""
        self.equal(INDEX, node.path, ours, node.value)

    def near_node(self, node: Node, ours: float, tolerance: float) -> None:
        """Compare with a number of the index."""
        self.near(INDEX, node.path, ours, node.value, tolerance)

    def _other(self, file: str, key: str, detail: str) -> None:
        self.rows.append(Row(file, key, float("inf"), 0.0, detail))

    def unchecked(self, file: str, key: str) -> None:
        """A value that no check looked at."""
        self._other(file, key, "not checked")

    def unlisted(self, file: str, key: str) -> None:
        """An array that the index does not name."""
        self._other(file, key, "not in the index")

    def failed(self, what: str, error: Exception) -> None:
        """A whole check that could not run to its end."""
        self._other(what, "(the check)", f"{type(error).__name__}: {error}")


def _array(value: Any) -> np.ndarray[Any, Any]:
    return value.detach().float().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _plain(value: Any) -> Any:
    """Nested lists of plain values."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}… ({len(text)} characters)"
