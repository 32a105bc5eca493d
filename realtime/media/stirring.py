"""The first sign that somebody begins to speak, before the detector is sure of it. Sans-I/O.

The detector wants two windows of voice; by then a turn may just have been declared over. A sudden rise of level, or a
single window that sounds like a voice, is reason enough to wait a moment longer, and no reason for anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

RISE_DB = 5.0
"""Above the quiet by so much is a sign."""

FALL_DB = 8.0
"""Below the quiet by so much is the end of a voice: what follows is the room."""

LIKELY = 0.2
"""A window that is a voice with this probability is a sign."""

FOLLOW = 0.1
"""By which share of the difference the idea of the quiet's level follows each block."""

SOFTEST_DB = -62.0
"""Nothing softer is a sign of anything."""


class Stirring:
    """Feed it every frame: whether it holds a sign of a voice. While somebody speaks there is none."""

    def __init__(self) -> None:
        self._quiet_db: float | None = None

    def feed(self, levels_db: Sequence[float], speaking: bool, probability: float) -> bool:
        """The levels of the next blocks of 10 ms; `speaking` and `probability` are the detector's newest word."""
        if speaking:
            self._quiet_db = None
            return False
        rises = [self._rises(level_db) for level_db in levels_db]
        return any(rises) or probability >= LIKELY

    def _rises(self, level_db: float) -> bool:
        if self._quiet_db is None:
            self._quiet_db = level_db
            return False
        if level_db >= max(self._quiet_db + RISE_DB, SOFTEST_DB):
            return True
        fell = level_db < self._quiet_db - FALL_DB
        self._quiet_db = level_db if fell else self._quiet_db + FOLLOW * (level_db - self._quiet_db)
        return False
