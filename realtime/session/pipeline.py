"""Keeps the model server's context in step with the log. Sans-I/O; knows items, not conversations.

What is written waits in order, is sent while at most two items are unanswered, and is in the log from then on. Whatever
parts server and log (a refused item, a cancel that undid later items, a lost socket, another server) takes entries out
of the log and puts them back in front of the waiting ones; where the server holds more than the log it is rolled back
first. So every recovery is the same motion.

While items wait behind others (an engine too slow, a server being replaced) pictures go first: all but the newest
unit's. Audio is never dropped; who writes on against a standing server gets `BacklogFull`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence

from model_server.protocol import Append, Generate, Prefill, Request, Rollback, SessionConfig, Unit
from realtime.session.in_flight import ROLLBACK, InFlight, Key, Sent, key_of
from realtime.session.log import (
    ConfigEntry,
    Entry,
    HistoryEntry,
    ItemEntry,
    Place,
    ReplyEntry,
    SessionLog,
    without_pictures,
)
from realtime.session.reports import BacklogFull, SessionStats

WINDOW = 2
"""Items that may be unanswered at the server; from the third on they wait here, where their pictures can be dropped."""

MAX_WAITING = 64


class Pipeline:
    """The log of one session, what waits behind it, and what is unanswered between the two."""

    def __init__(self, config: SessionConfig, stats: SessionStats) -> None:
        self.log = SessionLog(config)
        self.kv_length = 0
        """Positions of the context, when last told."""
        self._stats = stats
        self._waiting: deque[Entry] = deque()
        self._in_flight = InFlight()
        self._behind = False
        """The server holds something that the log does not: roll it back before anything else."""
        self._rolling_back = False
        self._refused = False
        """What is in flight was sent in vain: wait for its answers before sending on."""

    @property
    def waiting(self) -> Collection[Entry]:
        """What is not sent yet, in order."""
        return self._waiting

    @property
    def in_step(self) -> bool:
        """The server need not be rolled back."""
        return not self._behind and not self._rolling_back

    # Forward -------------------------------------------------------------------------------------------------------

    def write(self, entry: Entry) -> None:
        """The next entry. Raises `BacklogFull`."""
        if len(self._waiting) >= MAX_WAITING and not isinstance(entry, ConfigEntry):
            raise BacklogFull(f"{len(self._waiting)} entries wait for the model server, at most {MAX_WAITING} may")
        if isinstance(entry, ConfigEntry) and self._waiting and isinstance(self._waiting[-1], ConfigEntry):
            self._waiting.pop()
        self._waiting.append(entry)
        if isinstance(entry, ItemEntry):
            self._drop_pictures()

    def next_request(self) -> Request | None:
        """What is sent next; None until an answer comes or more is written."""
        if self._rolling_back or (self._in_flight and (self._refused or self._behind)):
            return None
        if self._behind:
            return self._roll_back()
        while self._waiting and self._may_go(self._waiting[0]):
            entry = self._waiting.popleft()
            request = entry.request(self.log.last_wire)
            if request is not None:
                self._log(entry, request)
                return self._send(request, entry)
            entry.place = Place.GONE
        return None

    def answered(self, key: Key) -> Sent | None:
        """An answer came; returns what was asked, None when nothing of the kind was."""
        sent = self._in_flight.take(key)
        if not self._in_flight:
            self._refused = False
        if key == ROLLBACK:
            self._rolling_back = False
        return sent

    def began(self, entry: ReplyEntry) -> None:
        """The engine began a response of its own accord, before it took what it has not answered yet."""
        entry.place, entry.generated_here = Place.WRITTEN, True
        self.log.add(entry, before_unwritten=True)

    # Back ----------------------------------------------------------------------------------------------------------

    def requeue(self, index: int) -> None:
        """The log's entries from `index` on are not at the server: they are sent again, settings excepted."""
        again = [entry for entry in self.log.entries[index:] if not isinstance(entry, ConfigEntry)]
        self._take_out(again)
        self._put_back(again)

    def refused(self, entry: Entry) -> None:
        """The server did not take this entry, nor anything sent after it: all of it is to be sent again, in order."""
        self.requeue(self.log.entries.index(entry))
        self._refused = bool(self._in_flight)

    def server_stands_at(self, wire: int, *, behind: Entry) -> None:
        """The server undid what came after its item `wire`: the log's entries behind this one are written again."""
        if behind in self.log.entries:
            self.requeue(self.log.entries.index(behind) + 1)
        self._behind = self._behind or self.log.last_wire != wire

    def drop(self, entries: Collection[Entry], *, at_server: bool = False) -> None:
        """These entries are undone. `at_server`: the server has undone them itself, or has never had them."""
        gone = {id(entry) for entry in entries}
        kept = [entry for entry in self._waiting if id(entry) not in gone]
        self._waiting = deque(kept)
        taken = [entry for entry in self.log.entries if id(entry) in gone]
        self._take_out(taken)
        self._behind = self._behind or (bool(taken) and not at_server)
        for entry in entries:
            entry.place = Place.GONE

    def rewrite(self, entry: Entry) -> None:
        """This entry of the log has changed: it and what follows are undone at the server and written again."""
        if entry in self.log.entries:
            self.requeue(self.log.entries.index(entry))
            self._behind = True

    # The connection ------------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """The socket is gone: no answer will come."""
        self._in_flight.clear()
        self._refused = False
        self._behind, self._rolling_back = self._behind or self._rolling_back, False
        unsure = [e for e in self.log.entries if isinstance(e, ConfigEntry) and e.place is Place.SENT]
        self._take_out(unsure)
        self._put_back(unsure)

    def take_up(self, last_wire: int) -> list[Entry]:
        """The session was resumed and stands after item `last_wire`; returns what had been written unknown to us."""
        self.requeue(self.log.after_wire(last_wire))
        self._behind = self._behind or self.log.last_wire != last_wire
        written = [entry for entry in self.log.entries if entry.place is Place.SENT]
        for entry in written:
            entry.place = Place.WRITTEN
        return written

    def start_over(self) -> None:
        """A new session: everything is sent again."""
        self._put_back(self.log.restart())
        self._behind = False

    # ---------------------------------------------------------------------------------------------------------------

    def _roll_back(self) -> Request:
        """Return to the last item that server and log share; responses after it go, too, and are written again."""
        to_wire = self.log.last_wire
        self.requeue(self.log.after_last_wire)
        self._behind, self._rolling_back = False, True
        return self._send(Rollback(to_seq=to_wire), None)

    def _may_go(self, entry: Entry) -> bool:
        is_new = isinstance(entry, ItemEntry | HistoryEntry) and not entry.told
        return not is_new or self._in_flight.unacknowledged < WINDOW

    def _log(self, entry: Entry, request: Request) -> None:
        entry.place = Place.SENT
        if isinstance(request, Prefill | Append):
            entry.wire = request.seq
        if isinstance(request, Generate) and isinstance(entry, ReplyEntry):
            entry.generated_here = True
        self.log.add(entry)

    def _send(self, request: Request, entry: Entry | None) -> Request:
        self._in_flight.add(key_of(request), entry)
        return request

    def _take_out(self, entries: Sequence[Entry]) -> None:
        self._in_flight.void(entries)
        self.log.take_out(entries)

    def _put_back(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            entry.place, entry.wire = Place.WAITING, None
            if isinstance(entry, ReplyEntry):
                entry.generated_here = False
        self._waiting.extendleft(reversed(entries))

    def _drop_pictures(self) -> None:
        """Pictures go as soon as more than `WINDOW` units are unanswered, but the newest stays."""
        units = list(self._new_units())
        if self._in_flight.unacknowledged + len(units) <= WINDOW:
            return
        for entry in units[:-1]:
            assert isinstance(entry.item, Unit)
            self._stats.pictures_dropped += len(entry.item.pictures)
            entry.item = without_pictures(entry.item)

    def _new_units(self) -> Iterator[ItemEntry]:
        for entry in self._waiting:
            if isinstance(entry, ItemEntry) and isinstance(entry.item, Unit) and not entry.told:
                yield entry
