"""`python -m tests.bench`: measures every row of `budgets.toml`. Exit status 1: a row is missed."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench import report
from tests.bench.budgets import Budget, load
from tests.bench.measurement import Measurement, Options, Repetitions
from tests.bench.plan import MEASUREMENTS


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", help="rows with this in their name; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, for a look")
    parser.add_argument("--calls", type=int, help="calls of the load rows, instead of 10 and 40")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where the rows are written")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    asked = parser.parse_args(given)
    if asked.only and not chosen(asked.only):
        parser.error(f"no row has {' or '.join(asked.only)} in its name: --list names them")
    return asked


def chosen(only: Sequence[str] | None) -> list[Measurement]:
    """The measurements that serve these names, or all."""
    return [each for each in MEASUREMENTS if not only or any(each.serves(name) for name in only)]


async def measured(measurement: Measurement, options: Options) -> Repetitions:
    """The repetitions; what fails is told and has none, so that its rows are missed and the others still come."""
    try:
        return await measurement.run(options)
    except (Exception, pytest.fail.Exception):
        traceback.print_exc()
        return {}


async def run(asked: argparse.Namespace) -> list[report.Row]:
    """Measure and print row by row."""
    budgets, options = load(), Options(quick=asked.quick, calls=asked.calls)
    rows: list[report.Row] = []
    report.show(report.head(), sys.stdout)
    for measurement in chosen(asked.only):
        repetitions = await measured(measurement, options)
        rows += [tell(budgets[name], repetitions.get(name, [])) for name in measurement.rows]
    return rows


def tell(budget: Budget, repetitions: Sequence[float]) -> report.Row:
    """Make the row and print it."""
    row = report.row(budget, repetitions)
    report.show(report.line(budget, row), sys.stdout, missed=not row.ok)
    return row


def main() -> int:
    asked = arguments()
    if asked.list:
        for name, budget in load().items():
            print(f"{name:<22} {budget.what}")
        return 0
    begun = time.monotonic()
    rows = asyncio.run(run(asked))
    report.write_json(rows, asked.json)
    if asked.docs:
        report.write_docs(rows, load())
    missed = [row.name for row in rows if not row.ok]
    report.show(f"\n{len(rows)} rows in {time.monotonic() - begun:.0f} s, written to {asked.json}", sys.stdout)
    if missed:
        report.show(f"missed: {', '.join(missed)}", sys.stdout, missed=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
