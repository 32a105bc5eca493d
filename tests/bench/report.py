"""What was measured against what was promised: a table for people, `bench.json` for machines."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from tests.bench.budgets import Budget

RED, PLAIN = "\033[31m", "\033[0m"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- measured -->", "<!-- end -->"
COLUMNS = (58, 10, 19, 9, 10, 6)


@dataclass(frozen=True, slots=True)
class Row:
    """One measured row. `value` is None where nothing could be measured, which counts as missed.

    `spread` is from the 25th to the 75th percentile of the repetitions, `load` the machine's 1 minute load average.
    """

    name: str
    value: float | None
    spread: tuple[float, float] | None
    unit: str
    budget: float | None
    ok: bool
    load: float


def row(budget: Budget, repetitions: Sequence[float]) -> Row:
    """The row of these repetitions; none at all is a miss."""
    load = round(os.getloadavg()[0], 2)
    if not repetitions:
        return Row(budget.name, None, None, budget.unit, budget.limit, False, load)
    value = round(budget.value(repetitions), 3)
    low, high = (round(float(edge), 3) for edge in np.percentile(repetitions, [25, 75]))
    return Row(budget.name, value, (low, high), budget.unit, budget.limit, budget.holds(value), load)


def write_json(rows: Sequence[Row], path: Path) -> None:
    """The list of rows."""
    path.write_text(json.dumps([asdict(each) for each in rows], indent=1) + "\n")


def write_docs(rows: Sequence[Row], budgets: Mapping[str, Budget], page: Path = DOCS) -> None:
    """Replace what stands between the two marks of the page by the table."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{markdown(rows, budgets)}{END}{after}")


def markdown(rows: Sequence[Row], budgets: Mapping[str, Budget]) -> str:
    """The table for the documentation."""
    lines = ["| row | value | spread | budget | load |", "|---|---|---|---|---|"]
    for each in rows:
        what, limit = budgets[each.name].what, "printed" if each.budget is None else f"{each.budget:g}"
        value = "none" if each.value is None else f"{_value(each)} {each.unit}"
        missed = "" if each.ok else " **missed**"
        lines.append(f"| {what} | {value}{missed} | {_spread(each)} | {limit} | {each.load:.1f} |")
    return "\n".join(lines) + "\n"


def head() -> str:
    """The table's first line."""
    return _columns("", "value", "spread", "unit", "budget", "load")


def line(budget: Budget, measured: Row) -> str:
    """One row of the table."""
    limit = "printed" if budget.limit is None else f"<= {budget.limit:g}"
    mark = "" if measured.ok else "  MISSED"
    cells = (_value(measured), _spread(measured), budget.unit, limit, f"{measured.load:.1f}")
    return _columns(budget.what, *cells) + mark


def show(text: str, stream: TextIO, *, missed: bool = False) -> None:
    """Print at once; a miss is red on a terminal."""
    coloured = missed and stream.isatty()
    print(f"{RED}{text}{PLAIN}" if coloured else text, file=stream, flush=True)


def _value(measured: Row) -> str:
    return "none" if measured.value is None else f"{measured.value:.4g}"


def _spread(measured: Row) -> str:
    return "" if measured.spread is None else "{:.4g} .. {:.4g}".format(*measured.spread)


def _columns(what: str, *rest: str) -> str:
    cells = [f"{cell:>{width}}" for cell, width in zip(rest, COLUMNS[1:], strict=True)]
    lines = [what[: COLUMNS[0]]] if len(what) <= COLUMNS[0] else _wrapped(what)
    return "\n".join([f"{lines[0]:<{COLUMNS[0]}}" + "".join(cells), *(f"  {more}" for more in lines[1:])])


def _wrapped(what: str) -> list[str]:
    words, lines = what.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) + 1 > COLUMNS[0] - 2:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
