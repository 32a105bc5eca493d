"""Requests that the model server has not answered yet, in the order they were sent. Sans-I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from model_server.protocol import Append, Generate, Prefill, Request, Rollback, Update
from realtime.session.log import Entry

Key = tuple[str, int | str]

ROLLBACK: Key = ("rollback", 0)
UPDATE: Key = ("update", 0)


def item_key(wire: int) -> Key:
    """What answers item `wire`."""
    return ("item", wire)


def reply_key(wire_id: str) -> Key:
    """What answers the request for response `wire_id`."""
    return ("reply", wire_id)


def key_of(request: Request) -> Key:
    """What the answer to `request` is about."""
    match request:
        case Prefill(seq=seq) | Append(seq=seq):
            return item_key(seq)
        case Generate(response_id=response_id):
            return reply_key(response_id)
        case Update():
            return UPDATE
        case Rollback():
            return ROLLBACK
    raise TypeError(f"{type(request).__name__} is not answered in order")


@dataclass(slots=True)
class Sent:
    """One unanswered request. `entry` is None once its answer does not matter any more."""

    key: Key
    entry: Entry | None


class InFlight:
    """The unanswered requests."""

    def __init__(self) -> None:
        self._sent: deque[Sent] = deque()

    def __bool__(self) -> bool:
        return bool(self._sent)

    @property
    def unacknowledged(self) -> int:
        """Items whose writing the caller still waits for."""
        return sum(sent.key[0] == "item" and sent.entry is not None and not sent.entry.told for sent in self._sent)

    def add(self, key: Key, entry: Entry | None) -> None:
        """A request went out."""
        self._sent.append(Sent(key, entry))

    def take(self, key: Key) -> Sent | None:
        """The request that an answer is about; None when nothing of the kind was asked."""
        found = next((sent for sent in self._sent if sent.key == key), None)
        if found is not None:
            self._sent.remove(found)
        return found

    def void(self, entries: Iterable[Entry]) -> None:
        """The answers about these entries do not matter any more."""
        gone = {id(entry) for entry in entries}
        for sent in self._sent:
            if id(sent.entry) in gone:
                sent.entry = None

    def clear(self) -> None:
        """No answer will come."""
        self._sent.clear()
