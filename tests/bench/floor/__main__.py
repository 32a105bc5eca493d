"""How well the floor is taken and given: `python -m tests.bench.floor`.

Simulated calls in virtual time; a table with 95 % intervals, the exit status 1 on a miss. `--row NAME --seed N` plays
the calls of one row alone, `--quick` a fifth of them, `--docs` writes the table and the picture of docs/floor.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence

from tests.bench import spoken
from tests.bench.floor import picture, table
from tests.bench.floor.playing import play_all
from tests.bench.floor.rows import Measured, Row, load, measure
from tests.bench.floor.verdicts import Figures
from tests.bench.report import show

SWEEP_MS = (200, 300, 400, 500, 600, 700, 800, 900)
SWEEP = {f"pauses.flat.noise20.silence{ms}": ms for ms in SWEEP_MS}
ADAPTING_MS = (200, 300, 400, 500, 560)
ADAPTING = {f"pauses.flat.noise20.usual{ms}": ms for ms in ADAPTING_MS}
MARKED = {"low": "pauses.flat.noise20.low", "auto": "pauses.flat.noise20", "high": "pauses.flat.noise20.high"}


def sweep_points(swept: Mapping[str, int], figures: dict[str, list[Figures]]) -> list[picture.Point]:
    """Where the floor stands at each value of a threshold."""
    return [point_of(str(ms), figures[name]) for name, ms in swept.items()]


def point_of(label: str, calls: Sequence[Figures]) -> picture.Point:
    """Where these calls stand in the picture."""
    latency = measure(Row("", "", "", "latency", "median"), calls).value
    share = measure(Row("", "", "", "take_over", "share"), calls).value
    return picture.Point(label, latency or 0.0, share or 0.0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", nargs="+", choices=list(load()), help="only these rows", metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a fifth of the calls")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--docs", action="store_true", help="write the table and the picture of docs/floor.md")
    parser.add_argument("--list", action="store_true", help="the rows' names")
    return parser.parse_args()


def main() -> int:
    asked, rows = arguments(), load()
    if asked.list:
        print("\n".join(rows))
        return 0
    try:
        spoken.need_programs()
    except spoken.MissingProgram as error:
        print(error, file=sys.stderr)
        return 1
    chosen = [rows[name] for name in asked.row] if asked.row else list(rows.values())
    names = dict.fromkeys(
        [*(row.condition for row in chosen), *((*SWEEP, *ADAPTING, *MARKED.values()) if asked.docs else ())]
    )
    begun = time.monotonic()
    figures = play_all(names, asked.seed, asked.quick, asked.jobs)
    measured = [measure(row, figures[row.condition]) for row in chosen]
    tell(measured)
    print(f"{sum(map(len, figures.values()))} calls in {time.monotonic() - begun:.0f} s, seed {asked.seed}")
    if asked.docs:
        table.write_docs(measured)
        marked = [point_of(label, figures[name]) for label, name in MARKED.items()]
        picture.write(sweep_points(SWEEP, figures), sweep_points(ADAPTING, figures), marked)
    return 0 if all(each.ok for each in measured) else 1


def tell(measured: Sequence[Measured]) -> None:
    """Print the table."""
    show(table.head(), sys.stdout)
    for each in measured:
        show(table.line(each), sys.stdout, missed=not each.ok)


if __name__ == "__main__":
    sys.exit(main())
