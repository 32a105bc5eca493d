"""What waits while a turn-based engine replies: it cannot take units into the middle of its own words.

A second without speech is dropped at once, except the one right before an onset (its last 300 ms belong to the first
word); the newest picture is always kept. Nothing with speech and nothing the person typed or showed is ever dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from model_server.protocol import PictureItem, TextItem
from realtime.media.units import CutUnit

PRE_ROLL_SAMPLES = 4_800
"""Samples before an onset that count as speech (300 ms at 16 kHz)."""

Waiting = CutUnit | TextItem | PictureItem


class HeldUnits:
    """Decides for each closed unit and each item whether it goes out now, later or not at all."""

    def __init__(self) -> None:
        self.holding = False
        self.dropped = 0
        """Seconds without speech that were let go so far."""
        self._waiting: list[Waiting] = []
        self._silent: CutUnit | None = None
        self._picture: bytes | None = None

    @property
    def speech_units(self) -> int:
        """How many units with speech wait."""
        return sum(isinstance(item, CutUnit) for item in self._waiting)

    def hold(self) -> None:
        """Let nothing through from now on."""
        self.holding = True

    def offer(self, item: Waiting) -> list[Waiting]:
        """A unit was closed or an item came; returns what goes out now."""
        if not self.holding:
            return [item]
        if not isinstance(item, CutUnit):
            self._waiting.append(item)
            return []
        if item.pictures:
            self._picture = item.pictures[-1]
        self._drop_silent()
        if item.voiced:
            self._waiting.append(item)
        else:
            self._silent = item
        return []

    def voice_from(self, position: int) -> None:
        """Speech began at sample `position`: the silent unit that holds its pre-roll stays."""
        if self._silent is not None and position - PRE_ROLL_SAMPLES < self._silent.end:
            self._waiting.append(replace(self._silent, voiced=True))
            self._silent = None

    def replace_units(self, units: Sequence[CutUnit]) -> None:
        """All units since the hold began were cut anew: these wait instead, before what was typed or shown."""
        others = [item for item in self._waiting if not isinstance(item, CutUnit)]
        self._waiting = [*units, *others]
        self._silent = self._picture = None

    def release(self) -> list[Waiting]:
        """Hold no more; returns what waited, oldest first, with the newest picture on its last unit."""
        self.holding = False
        waiting, self._waiting = self._waiting, []
        if self._silent is not None:
            waiting.append(self._silent)
            self._silent = None
        picture, self._picture = self._picture, None
        last = max((index for index, item in enumerate(waiting) if isinstance(item, CutUnit)), default=None)
        if picture is not None and last is not None:
            unit = waiting[last]
            assert isinstance(unit, CutUnit)
            waiting[last] = replace(unit, pictures=[picture])
        return waiting

    def _drop_silent(self) -> None:
        if self._silent is not None:
            self.dropped += 1
            self._silent = None
