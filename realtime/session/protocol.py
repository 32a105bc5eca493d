"""The gateway's side of the session protocol. Sans-I/O: requests come out, replies go in, no socket and no clock.

It numbers the items, hands the server's answers on under these numbers, and decides what an error means. `Responses`
knows what is said, `Pipeline` keeps the server in step with what has been written.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec
import structlog

from model_server.protocol import (
    MAX_MESSAGE_BYTES,
    Append,
    Busy,
    Cancelled,
    Done,
    Draining,
    Error,
    Evicted,
    GenerateOptions,
    Item,
    Open,
    Opened,
    Prefilled,
    Queued,
    Refused,
    Reply,
    Request,
    RolledBack,
    SessionConfig,
    Speech,
    Started,
    Text,
    Transcript,
    Unit,
    Updated,
)
from realtime.session.in_flight import ROLLBACK, UPDATE, Key, item_key
from realtime.session.log import (
    ConfigEntry,
    Entry,
    HistoryEntry,
    ItemEntry,
    Place,
    ReplyEntry,
    item_bytes,
    without_pictures,
)
from realtime.session.pipeline import Pipeline
from realtime.session.reports import Delivery, Returned, SessionError, SessionStats
from realtime.session.responses import Responses

MAX_ITEM_BYTES = MAX_MESSAGE_BYTES - 64 * 1024
OUT_OF_STEP = frozenset({"seq_gap", "stale_seq", "out_of_order"})
SESSION_OVER = frozenset({"session_ended", "engine_failed", "not_open", "already_open", "invalid_message"})

log = structlog.get_logger(__name__)


class SessionProtocol:
    """One session. The caller's requests return at once; `next_request` and `deliveries` say what follows."""

    def __init__(self, config: SessionConfig) -> None:
        self.stats = SessionStats()
        self.opened_as: Opened | None = None
        self.last_seq = 0
        """The last number given to an item."""
        self.broken: str | None = None
        """Why this connection must end now, to be replaced by a new session."""
        self._pipeline = Pipeline(config, self.stats)
        self._log = self._pipeline.log
        self._responses = Responses(self._pipeline, self._tell, spoken=config.speech)
        self._resumable = True
        self._rollbacks_asked = 0
        self._deliveries: deque[Delivery] = deque()

    @property
    def kv_length(self) -> int:
        """Positions the session's context held when last told."""
        return self._pipeline.kv_length

    # The caller ----------------------------------------------------------------------------------------------------

    def prefill(self, item: Item) -> int:
        """Write an item; returns its number. Raises `SessionError` for one too large to send, `BacklogFull`."""
        size = item_bytes(item)
        if size > MAX_ITEM_BYTES:
            raise SessionError(f"an item has at most {MAX_ITEM_BYTES} bytes, got {size}: send its pictures one by one")
        self._pipeline.write(ItemEntry(seq=self.last_seq + 1, item=item))
        self.last_seq += 1
        return self.last_seq

    def append(self, role: Literal["user", "assistant", "tool"], text: str = "", engine_tokens: bytes = b"") -> int:
        """Write history; returns its number. Raises `BacklogFull`."""
        self._pipeline.write(HistoryEntry(seq=self.last_seq + 1, role=role, text=text, engine_tokens=engine_tokens))
        self.last_seq += 1
        return self.last_seq

    def update(self, config: SessionConfig) -> None:
        """New settings for what is written from now on."""
        self._responses.spoken = config.speech
        self._pipeline.write(ConfigEntry(config=config))

    def generate(self, response_id: str, options: GenerateOptions | None = None) -> None:
        """Ask for a response to everything written so far.

        Raises `SessionError` for an id that cannot be or was used, `BacklogFull`.
        """
        self._responses.generate(response_id, options or GenerateOptions())

    def played(self, response_id: str, ms: int) -> None:
        """The person has heard so much of a response that is being generated; of any other it does not matter."""
        self._responses.played(response_id, ms)

    def rollback(self, seq: int) -> None:
        """Undo everything after item `seq` (0: the opening), settings excepted; `RolledBack` follows.

        Raises `SessionError` when that place is not known (any more), or a response after it is being generated.
        """
        later = self._after(self._place(seq))
        for entry in later:
            if isinstance(entry, ReplyEntry) and entry.generated_here and not entry.settled:
                raise SessionError(f"response {entry.response_id} is being generated after item {seq}: cancel it first")
        self._pipeline.drop(later)
        self._rollbacks_asked += 1
        if self._pipeline.in_step:
            self._tell_rolled_back()

    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None:
        """End a response, at any time; `Cancelled` follows and nothing else with its id.

        Of its speech the first `keep_ms` stay; with `discard` it never was. `rollback_to_seq` (implies `discard`)
        undoes the items after that one, too; all others written since are written again. An unknown id, or another
        response that is being generated, is told by an `Error`; an unknown place raises `SessionError`.
        """
        place = self._place(rollback_to_seq) if rollback_to_seq is not None else None
        self._responses.cancel(
            response_id,
            keep_ms,
            discard=discard or place is not None,
            undo=self._after(place) if place is not None else [],
            rollback_to_wire=self._log.wire_of(place) if place is not None else None,
        )

    # The connection ------------------------------------------------------------------------------------------------

    def open_request(self, *, wait: bool = False) -> Open:
        """What opens the session: the one that was lost if it may live, else a new one."""
        token = self.opened_as.resume_token if self.opened_as is not None and self._resumable else None
        return Open(config=self._log.config, resume=token, wait=wait)

    def forget_server(self) -> bool:
        """The lost session lives no more: the next one is new, and everything is written into it again.

        False when that was known already.
        """
        known, self._resumable = not self._resumable, False
        return not known

    def opened(self, reply: Opened) -> None:
        """The session is open: for the first time, again, or elsewhere."""
        first = self.opened_as is None
        self.opened_as, self._resumable, self.broken = reply, True, None
        self._responses.connected = True
        self._responses.native = reply.capabilities.turn_taking == "native"
        if reply.resumed:
            self.stats.resumed += 1
            for entry in self._pipeline.take_up(reply.last_seq):
                self._tell_written(entry, 0.0)
        elif not first:
            self.stats.replayed += 1
            self._pipeline.start_over()
        if self._pipeline.in_step:
            self._tell_rolled_back()

    def lost(self) -> None:
        """The socket is gone. What was being generated ends here, unless nobody has heard of it yet."""
        self._pipeline.lost()
        self._responses.lost()

    def next_request(self) -> Request | None:
        """The next message for the server; None until something else happens."""
        if not self._responses.connected:
            return None
        request = self._responses.next_request()
        if request is not None or self._responses.cancelling:
            return request
        return self._pipeline.next_request()

    def deliveries(self) -> list[Delivery]:
        """What the caller is to be told, in order; each is given once."""
        told = list(self._deliveries)
        self._deliveries.clear()
        return told

    def receive(self, reply: Reply) -> None:
        """The server said something."""
        match reply:
            case Started() | Text() | Speech() | Done() | Cancelled():
                self.stats.stale += not self._responses.receive(reply)
            case Prefilled(seq=wire):
                self._written(wire, reply)
            case Busy(seq=wire):
                self._busy(wire)
            case Error():
                self._error(reply)
            case RolledBack():
                self._pipeline.kv_length = reply.kv_length
                self._pipeline.answered(ROLLBACK)
                self._tell_rolled_back()
            case Updated():
                self._answered(UPDATE)
                self._tell(reply)
            case Evicted(up_to_seq=wire):
                self._tell(Evicted(up_to_seq=self._log.evict(wire)))
            case Transcript(seq=wire):
                self._tell(msgspec.structs.replace(reply, seq=self._log.seq_at(wire)))
            case Draining():
                self._resumable = False
                self._tell(reply)
            case Opened() | Refused() | Queued():
                self.broken = f"unexpected {type(reply).__name__.lower()}"

    # Items ---------------------------------------------------------------------------------------------------------

    def _written(self, wire: int, reply: Prefilled) -> None:
        self._pipeline.kv_length = reply.kv_length
        entry = self._answered(item_key(wire))
        if entry is not None:
            self._tell_written(entry, reply.ms, spare=reply.spare)

    def _tell_written(self, entry: Entry, ms: float, *, spare: bool = False) -> None:
        if isinstance(entry, ItemEntry | HistoryEntry) and not entry.told:
            entry.told = True
            self._tell(Prefilled(seq=entry.seq, kv_length=self.kv_length, ms=ms, spare=spare))

    def _answered(self, key: Key) -> Entry | None:
        """The entry that the server has taken; None when it does not matter any more."""
        sent = self._pipeline.answered(key)
        if sent is None or sent.entry is None:
            return None
        sent.entry.place = Place.WRITTEN
        return sent.entry

    def _busy(self, wire: int) -> None:
        """Hand back this item and all behind it; a response that waits for them would not hear them."""
        sent = self._pipeline.answered(item_key(wire))
        if sent is None or sent.entry is None:
            return
        self._pipeline.refused(sent.entry)
        back = [entry for entry in self._pipeline.waiting if not _settled(entry)]
        self._pipeline.drop(back)
        for entry in back:
            self._hand_back(entry)

    def _hand_back(self, entry: Entry) -> None:
        match entry:
            case ItemEntry(seq=seq, item=item):
                self.stats.returned += 1
                self._tell(Returned(seq, item))
            case HistoryEntry(seq=seq, role=role, text=text, engine_tokens=tokens):
                self.stats.returned += 1
                self._tell(Returned(seq, Append(seq=seq, role=role, text=text, engine_tokens=tokens)))
            case ReplyEntry(response_id=response_id):
                message = "items before it were not taken: the engine was replying"
                self._tell(Error(code="response_in_progress", message=message, response_id=response_id))

    # Errors --------------------------------------------------------------------------------------------------------

    def _error(self, error: Error) -> None:
        log.info("session_error", code=error.code)
        if error.code in SESSION_OVER:
            self.broken, self._resumable = error.code, False
        elif error.response_id is not None:
            self.stats.stale += not self._responses.refused(error, error.response_id)
        elif error.seq is not None and (sent := self._pipeline.answered(item_key(error.seq))) is not None:
            if sent.entry is not None:
                self._item_refused(error, sent.entry)
        elif error.code == "invalid_config":
            self._config_refused(error)
        elif self._pipeline.answered(ROLLBACK) is not None:
            # The way back is gone: only a new session can be brought in step with the log.
            self.broken, self._resumable = "rollback_refused", False
        else:
            self._tell(error)

    def _item_refused(self, error: Error, entry: Entry) -> None:
        if error.code in OUT_OF_STEP:
            self.broken, self._resumable = "out_of_step", False
            return
        self.stats.items_rejected += 1
        self._pipeline.refused(entry)
        if isinstance(entry, ItemEntry) and isinstance(entry.item, Unit) and entry.item.pictures:
            # What is said is worth more than a picture that cannot be read: the second is written without.
            entry.item = without_pictures(entry.item)
            return
        if isinstance(entry, ReplyEntry) and entry.engine_tokens and entry.text:
            entry.engine_tokens = b""
            return
        self._pipeline.drop([entry], at_server=True)
        if isinstance(entry, ItemEntry | HistoryEntry):
            self._tell(msgspec.structs.replace(error, seq=entry.seq))

    def _config_refused(self, error: Error) -> None:
        sent = self._pipeline.answered(UPDATE)
        if sent is not None and sent.entry is not None:
            self._pipeline.drop([sent.entry], at_server=True)
        self._tell(error)

    # ---------------------------------------------------------------------------------------------------------------

    def _tell(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)

    def _tell_rolled_back(self) -> None:
        while self._rollbacks_asked:
            self._rollbacks_asked -= 1
            self._tell(RolledBack(last_seq=self._log.seq_at(self._log.last_wire), kv_length=self.kv_length))

    def _place(self, seq: int) -> int:
        """Item `seq`, or the newest before it that is there: an item that was refused has left its place."""
        entries = [*self._log.entries, *self._pipeline.waiting]
        seqs = [entry.seq for entry in entries if isinstance(entry, ItemEntry | HistoryEntry) and entry.seq <= seq]
        there = max(seqs, default=self._log.base_seq)
        return there if there <= seq <= self.last_seq else seq

    def _after(self, seq: int) -> list[Entry]:
        """Everything written after item `seq`, settings excepted."""
        index = self._log.after_seq(seq)
        entries: list[Entry]
        if index is not None:
            entries = [*self._log.entries[index:], *self._pipeline.waiting]
        else:
            waiting = list(self._pipeline.waiting)
            places = [i for i, e in enumerate(waiting) if isinstance(e, ItemEntry | HistoryEntry) and e.seq == seq]
            if not places:
                raise SessionError(f"item {seq} is not in the session (any more): the last one is {self.last_seq}")
            entries = waiting[places[0] + 1 :]
        return [entry for entry in entries if not isinstance(entry, ConfigEntry)]


def _settled(entry: Entry) -> bool:
    return isinstance(entry, ConfigEntry) or (isinstance(entry, ReplyEntry) and entry.settled)
