"""Where a reply that was held goes on: at the beginning of the word in which it fell silent. Sans-I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from model_server.protocol import WordMark

LONGEST_BACK_MS = 1_000.0
"""A page keeps at least so much of what it has played; nothing longer than this is said again."""

REMEMBERED = 64
"""Words whose times are kept: an engine is 5 s ahead of what is heard."""


class WordStarts:
    """The times of one response's latest words."""

    def __init__(self) -> None:
        self._marks: deque[WordMark] = deque(maxlen=REMEMBERED)

    def add(self, marks: Sequence[WordMark]) -> None:
        """The next words, where the engine knows their times."""
        self._marks.extend(marks)

    def restart_ms(self, heard_ms: float) -> float:
        """Where to go on when `heard_ms` of the response were heard; without a word there, right there."""
        cut = next((mark for mark in self._marks if mark.start_ms < heard_ms < mark.end_ms), None)
        if cut is None or heard_ms - cut.start_ms > LONGEST_BACK_MS:
            return heard_ms
        return float(cut.start_ms)
