"""What the client is told of the person's turns and of what they typed: items in order, and how soon answers came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from realtime import events
from realtime.events import ServerEvent


@dataclass(slots=True)
class _Turn:
    """The person's latest turn, to which timings belong."""

    ended_at: float | None = None
    committed_at: float | None = None
    previous_item: str | None = None


class TurnEvents:
    """Tells one call's turns to `emit`. Times are seconds of the call's clock, positions samples at 16 kHz."""

    def __init__(self, emit: Callable[[ServerEvent], None]) -> None:
        self._emit = emit
        self._turn = _Turn()
        self._last_item: str | None = None

    def opened(self, item_id: str, position: int) -> None:
        """The person took the floor."""
        self._turn = _Turn()
        self._emit(events.SpeechStarted(audio_start_ms=position // 16, item_id=item_id))

    def silent(self, at: float) -> None:
        """The person's voice ended: what is measured begins here."""
        self._turn.ended_at = at

    def ended(self, item_id: str, position: int | None, now: float) -> None:
        """The turn became an item; `position` is where its voice ended, None where the client said that it is over."""
        self._turn.committed_at, self._turn.previous_item = now, self._last_item
        if position is not None:
            self._emit(events.SpeechStopped(audio_end_ms=position // 16, item_id=item_id))
        self._emit(events.Committed(item_id=item_id, previous_item_id=self._last_item))
        self.added(events.Item(id=item_id, content=[events.ContentPart(type="input_audio")]))

    def added(self, item: events.Item) -> None:
        """Something of the person's entered the conversation."""
        item.status = "completed"
        self._emit(events.ItemAdded(item=item, previous_item_id=self._last_item))
        self._emit(events.ItemDone(item=item, previous_item_id=self._last_item))
        self._last_item = item.id

    def reopened(self, item_id: str, position: int, answer: str | None) -> None:
        """The turn goes on since `position`: its item and `answer`, the item of the reply to it, never were."""
        for deleted in (answer, item_id):
            if deleted is not None:
                self._emit(events.ItemDeleted(item_id=deleted))
        if self._last_item == item_id:
            self._last_item = self._turn.previous_item
        self._turn.committed_at = None
        self._emit(events.SpeechStarted(audio_start_ms=position // 16, item_id=item_id))

    def answered(self, response_id: str, now: float) -> float | None:
        """The first sound of the answer; returns the seconds since the voice ended, None where no voice did."""
        turn, self._turn = self._turn, _Turn(previous_item=self._turn.previous_item)
        if turn.ended_at is None or turn.committed_at is None:
            return None
        timings = {
            "turn_end_ms": round((turn.committed_at - turn.ended_at) * 1000, 1),
            "first_audio_ms": round((now - turn.ended_at) * 1000, 1),
        }
        self._emit(events.TurnTimings(response_id=response_id, timings=timings))
        return now - turn.ended_at
