"""The first sign that somebody begins to speak, before the detector is sure of it. Sans-I/O.

The detector wants two windows of voice; by then a turn may just have been declared over. A sudden rise of level, or a
single window that sounds like a voice, is reason enough to wait a moment longer, and no reason for anything else.
"""

from __future__ import annotations

from realtime.media.decoder import Samples
from realtime.media.speech import FLOOR_DB, level_db

BLOCK = 160
"""Samples of which a level is taken: 10 ms."""

RISE_DB = 8.0
"""Above the quiet by so much is a sign."""

LIKELY = 0.4
"""A window that is a voice with this probability is a sign."""

FOLLOW = 0.1
"""By which share of the difference the idea of the quiet's level follows each block."""

SOFTEST_DB = -62.0
"""Nothing softer is a sign of anything."""


class Stirring:
    """Feed it every frame: whether it holds a sign of a voice. While somebody speaks there is none."""

    def __init__(self) -> None:
        self._quiet_db: float | None = None

    def feed(self, samples: Samples, speaking: bool, probability: float) -> bool:
        """The next samples, shape [any]; `speaking` and `probability` are the detector's newest word."""
        if speaking:
            self._quiet_db = None
            return False
        rises = [self._rises(samples[start : start + BLOCK]) for start in range(0, len(samples), BLOCK)]
        return any(rises) or probability >= LIKELY

    def _rises(self, block: Samples) -> bool:
        level = max(FLOOR_DB, level_db(block))
        if self._quiet_db is None:
            self._quiet_db = level
            return False
        rises = level >= max(self._quiet_db + RISE_DB, SOFTEST_DB)
        if not rises:
            # The end of a voice falls fast, and what follows is the room.
            self._quiet_db = (
                min(level, self._quiet_db)
                if level < self._quiet_db - RISE_DB
                else (self._quiet_db + FOLLOW * (level - self._quiet_db))
            )
        return rises
