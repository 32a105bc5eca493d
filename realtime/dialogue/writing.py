"""The person's side of the conversation on its way into the session: units, what is typed and shown, cut turns.

While a turn-based engine replies everything waits (`held`). A turn's cut can be taken back as long as nothing behind it
was written: then its samples, and those of all units that waited, go out again as if there had been no cut.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from model_server import protocol
from model_server.protocol import GenerateOptions, PictureItem, TextItem, Unit
from realtime.dialogue.held import HeldUnits, Waiting
from realtime.media.units import CutUnit

MAX_TYPED_ITEMS = 16
"""Typed or shown items that may wait for a reply to end."""

REMEMBERED_TURNS = 16
"""Turns that a transcript may still arrive for."""


class SessionPort(Protocol):
    """The model session as the dialogue needs it; nothing here blocks."""

    def prefill(self, item: protocol.Item) -> int: ...
    def generate(self, response_id: str, options: GenerateOptions) -> None: ...
    def played(self, response_id: str, ms: int) -> None: ...
    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None: ...


class Cutter(Protocol):
    """Closes a turn's last unit, and opens it again; `media.units.UnitCutter` is one."""

    @property
    def can_cancel(self) -> bool: ...
    @property
    def end(self) -> int: ...
    def cut_turn(self) -> CutUnit | None: ...
    def confirm_cut(self) -> None: ...
    def cancel_cut(self) -> list[CutUnit]: ...


@dataclass(frozen=True, slots=True)
class _Cut:
    """A turn's end in the session: the items right before its short unit and at its end."""

    before_seq: int
    seq: int


class Writing:
    """Writes one call's items into its session, in order."""

    def __init__(self, session: SessionPort, cutter: Cutter) -> None:
        self.held = HeldUnits()
        self._session = session
        self._cutter = cutter
        self._typed_waiting = 0
        self._returned: list[protocol.Item] = []
        self._last_seq = 0
        self._cut: _Cut | None = None
        self._cut_ahead = False
        """The turn is cut already, though it has not ended."""
        self._turn_of: OrderedDict[int, str] = OrderedDict()

    def offer(self, item: Waiting) -> None:
        """A unit was closed, or something typed or shown: it is written now, later or (silence) never."""
        for ready in self.held.offer(item):
            self._send(ready)

    def write(self, items: Sequence[TextItem | PictureItem]) -> bool:
        """The person typed or shows something; false when too much waits already."""
        if self.held.holding and self._typed_waiting + len(items) > MAX_TYPED_ITEMS:
            return False
        self._typed_waiting += len(items) if self.held.holding else 0
        for item in items:
            self.offer(item)
        return True

    def returned(self, item: protocol.Item) -> None:
        """A turn-based engine was in the middle of its reply and did not take `item`: it goes first afterwards."""
        self._returned.append(item)

    def release(self) -> None:
        """Write what was held, and hold no more."""
        self._typed_waiting, self._cut, self._cut_ahead = 0, None, False
        self._cutter.confirm_cut()
        returned, self._returned = self._returned, []
        for item in returned:
            self._last_seq = self._session.prefill(item)
        for waiting in self.held.release():
            self._send(waiting)

    # Turns ----------------------------------------------------------------------------------------------------------

    def cut_ahead(self) -> int:
        """The turn is probably over: write its last, short unit; returns the number of the turn's last item."""
        self._cut_ahead = True
        return self._cut_turn().seq

    def end_turn(self, item_id: str) -> None:
        """Turn `item_id` is what was written last; it is cut here unless that was done ahead."""
        cut = self._cut if self._cut_ahead else None
        self._cut_ahead = False
        self._turn_of[(cut or self._cut_turn()).seq] = item_id
        while len(self._turn_of) > REMEMBERED_TURNS:
            self._turn_of.popitem(last=False)

    def turn_of(self, seq: int) -> str | None:
        """The turn that ended with item `seq`."""
        return self._turn_of.get(seq)

    def clear(self) -> None:
        """Let go of what was heard and not written yet."""
        self._cutter.cut_turn()
        self._cutter.confirm_cut()
        self.held.replace_units([])

    def take_back(self, response_id: str) -> None:
        """The turn was not over: response and cut never were. What waited is cut anew and goes out on release."""
        cut, self._cut, self._cut_ahead = self._cut, None, False
        if cut is None or not self._cutter.can_cancel:
            self._session.cancel(response_id, discard=True)
            return
        self._turn_of.pop(cut.seq, None)
        self._last_seq = cut.before_seq
        self._session.cancel(response_id, discard=True, rollback_to_seq=cut.before_seq)
        self.held.replace_units(self._cutter.cancel_cut())

    def _cut_turn(self) -> _Cut:
        before_seq, unit = self._last_seq, self._cutter.cut_turn()
        if unit is not None:
            self.offer(unit)
        self._cut = _Cut(before_seq, self._last_seq)
        return self._cut

    def _send(self, item: Waiting) -> None:
        self._last_seq = self._session.prefill(_unit(item) if isinstance(item, CutUnit) else item)


def _unit(unit: CutUnit) -> Unit:
    return Unit(audio=unit.padded, pictures=list(unit.pictures), voiced=unit.voiced, last=unit.last)
