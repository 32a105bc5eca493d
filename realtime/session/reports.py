"""What a session tells its caller: replies, items handed back, errors and counts."""

from __future__ import annotations

from dataclasses import dataclass

from model_server.protocol import Append, Item, Reply


class SessionError(ValueError):
    """A request to the session that cannot be; the text says what was expected and what came. Nothing changed."""


class BacklogFull(SessionError):
    """The server has not answered for so long that no more can wait; this was not taken."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A turn-based engine was replying and did not take this: the caller sends it again later, under a new number."""

    seq: int
    item: Item | Append


Delivery = Reply | Returned


@dataclass(slots=True)
class SessionStats:
    """Counts over the life of a session."""

    stale: int = 0
    """Replies about responses that were cancelled or are not ours."""
    returned: int = 0
    items_rejected: int = 0
    pictures_dropped: int = 0
    """Pictures let go because the server was too slow."""
    resumed: int = 0
    replayed: int = 0
