"""The table of the floor bench: for people at the terminal, and for docs/floor.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench.floor.rows import Measured, Row

DOCS = Path(__file__).resolve().parents[3] / "docs" / "floor.md"
BEGIN, END = "<!-- measured -->", "<!-- end -->"
NAME, WHAT = 20, 80


def head() -> str:
    """The first line."""
    return f"{'row':{NAME}} {'':{WHAT}} {'value':>9} {'95 % interval':>21} {'n':>5} {'limit':>11}"


def line(measured: Measured) -> str:
    """One row."""
    row = measured.row
    mark = "" if measured.ok else "  MISSED"
    return (
        f"{row.name:{NAME}} {_what(row):{WHAT}} {_value(measured):>9} {_interval(measured):>21} {measured.count:5} "
        f"{row.limit:>11}{mark}"
    )


def write_docs(rows: Sequence[Measured], page: Path = DOCS) -> None:
    """Replace what stands between the two marks of the page by the table."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{markdown(rows)}{END}{after}")


def markdown(rows: Sequence[Measured]) -> str:
    """The table for the page."""
    lines = ["| row | | value | 95 % interval | n | limit |", "|---|---|---|---|---|---|"]
    for each in rows:
        row = each.row
        missed = "" if each.ok else " **missed**"
        cells = (f"`{row.name}`", _what(row), _value(each) + missed, _interval(each), str(each.count), row.limit)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _what(row: Row) -> str:
    return row.what if row.statistic in ("share", "per_10_minutes") else f"{row.what}, {row.statistic}"


def _value(measured: Measured) -> str:
    return "none" if measured.value is None else measured.row.form(measured.value)


def _interval(measured: Measured) -> str:
    if measured.value is None:
        return ""
    return f"{measured.row.form(measured.low)} .. {measured.row.form(measured.high)}"
