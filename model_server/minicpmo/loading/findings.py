"""Everything that is wrong with a model folder, gathered into one table."""

from __future__ import annotations

from model_server.minicpmo.errors import CheckpointError

MOST_ROWS = 40


class Findings:
    """What does not fit: where, what was found, what was expected."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def add(self, where: str, found: object, expected: object) -> None:
        self.rows.append((where, _short(found), _short(expected)))

    def check(self, title: str) -> None:
        """Raises `CheckpointError` with the table if anything was found."""
        if self.rows:
            raise CheckpointError(f"{title}\n{self.table()}")

    def table(self) -> str:
        """Three columns; of very many rows the first, and how many more there are."""
        shown = [("where", "found", "expected"), *self.rows[:MOST_ROWS]]
        widths = [max(len(row[column]) for row in shown) for column in range(2)]
        lines = [f"  {row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in shown]
        if len(self.rows) > MOST_ROWS:
            lines.append(f"  and {len(self.rows) - MOST_ROWS} more")
        return "\n".join(lines)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
