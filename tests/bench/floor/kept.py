"""Which samples of a call the session keeps: every unit that was cut is known by its sound and has a place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realtime.dialogue.writing import Cutter
from realtime.media.units import CutUnit


class Places:
    """Where in the call the units lie. The call's sample 0 was at the microphone at `-shift` samples."""

    def __init__(self) -> None:
        self.shift = 0
        self._spans: dict[bytes, tuple[int, int]] = {}

    def note(self, unit: CutUnit) -> CutUnit:
        """A unit was cut."""
        self._spans[bytes(unit.padded)] = (unit.start, unit.end)
        return unit

    def kept(self, units: list[bytes]) -> NDArray[np.bool_]:
        """For each sample up to the last unit's end whether one of `units` holds it."""
        spans = [self._spans[bytes(unit)] for unit in units]
        held = np.zeros(max((end for _, end in self._spans.values()), default=0), bool)
        for start, end in spans:
            held[start:end] = True
        return held


class WatchedCutter:
    """A cutter, and `places` knows of every unit it cuts for a turn's end or anew."""

    def __init__(self, cutter: Cutter, places: Places) -> None:
        self._cutter = cutter
        self._places = places

    @property
    def can_cancel(self) -> bool:
        return self._cutter.can_cancel

    @property
    def end(self) -> int:
        return self._cutter.end

    def cut_turn(self) -> CutUnit | None:
        unit = self._cutter.cut_turn()
        return None if unit is None else self._places.note(unit)

    def confirm_cut(self) -> None:
        self._cutter.confirm_cut()

    def cancel_cut(self) -> list[CutUnit]:
        return [self._places.note(unit) for unit in self._cutter.cancel_cut()]
