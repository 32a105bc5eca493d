"""The responses of one session: asked for or begun by the engine, cancelled, cut short by a lost server. Sans-I/O.

A cancelled response is silent from the moment of its cancel. While the server carries a cancel out nothing else is
sent; what the server undid besides the response is then written again, what the caller undid is not.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from model_server.protocol import (
    Cancel,
    Cancelled,
    Done,
    Error,
    GenerateOptions,
    Played,
    Request,
    Speech,
    Started,
    Text,
)
from realtime.session.in_flight import reply_key
from realtime.session.log import Entry, Place, ReplyEntry
from realtime.session.pipeline import Pipeline
from realtime.session.reports import Delivery, SessionError

MAX_ATTEMPTS = 2
"""How often a response is asked for when servers are lost before its first word."""

RESPONSE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,60}")
NOT_THERE = frozenset({"unknown_response", "mark_gone"})

OfResponse = Started | Text | Speech | Done | Cancelled
_Named = TypeVar("_Named", bound=OfResponse | Error)


@dataclass(slots=True)
class _Cancel:
    entry: ReplyEntry
    keep_ms: int
    discard: bool
    rollback_to_wire: int | None
    undo: list[Entry]
    """What goes with it because the caller said so."""


class Responses:
    """Knows every response that the log holds; `tell` gets what the caller is to hear, in order."""

    def __init__(self, pipeline: Pipeline, tell: Callable[[Delivery], None], *, spoken: bool) -> None:
        self.spoken = spoken
        """Whether the session speaks: then only what was heard of a response stays when it is cut."""
        self.native = False
        """Whether the engine begins responses itself."""
        self.connected = False
        self._pipeline = pipeline
        self._log = pipeline.log
        self._tell = tell
        self._cancels: deque[_Cancel] = deque()
        self._cancel_request: Cancel | None = None
        self._played: dict[str, int] = {}

    # The caller ----------------------------------------------------------------------------------------------------

    def generate(self, response_id: str, options: GenerateOptions) -> None:
        """See `SessionProtocol.generate`."""
        if not RESPONSE_ID.fullmatch(response_id):
            raise SessionError(f"a response id is 1 to 60 of A-Z a-z 0-9 _ . : -, got {response_id[:80]!r}")
        if self._find(response_id) is not None:
            raise SessionError(f"response id {response_id} was used before: choose a new one")
        self._pipeline.write(ReplyEntry(response_id=response_id, options=options))

    def played(self, response_id: str, ms: int) -> None:
        """See `SessionProtocol.played`."""
        entry = self._find(response_id)
        if entry is not None and ms > 0 and _is_running(entry):
            self._played[entry.wire_id] = ms

    def cancel(
        self, response_id: str, keep_ms: int, *, discard: bool, undo: list[Entry], rollback_to_wire: int | None
    ) -> None:
        """See `SessionProtocol.cancel`; `undo` are the entries behind the place to return to."""
        entry = self._find(response_id)
        if entry is None:
            self._tell(Error(code="unknown_response", message="nothing to cancel", response_id=response_id))
            return
        other = next((later for later in self._entries() if _is_running(later) and later is not entry), None)
        if other is not None:
            message = f"response {other.response_id} is being generated: cancel it first"
            self._tell(Error(code="response_in_progress", message=message, response_id=response_id))
            return
        entry.cancelled = True
        self._played.pop(entry.wire_id, None)
        undo = [other for other in undo if other is not entry]
        self._cancels.append(_Cancel(entry, max(0, keep_ms), discard, rollback_to_wire, undo))
        if len(self._cancels) == 1:
            self._carry_out()

    # The server ----------------------------------------------------------------------------------------------------

    @property
    def cancelling(self) -> bool:
        """Nothing may be written until the server has answered a cancel."""
        return bool(self._cancels)

    def next_request(self) -> Request | None:
        """Cancels and credits overtake whatever else is to be sent."""
        if self._cancel_request is not None:
            request, self._cancel_request = self._cancel_request, None
            return request
        if self._played:
            wire_id, ms = self._played.popitem()
            return Played(response_id=wire_id, ms=ms)
        return None

    def receive(self, reply: OfResponse) -> bool:
        """The server said something of a response; False when it was stale."""
        if isinstance(reply, Started | Cancelled):
            self._answered(reply.response_id)
        if isinstance(reply, Cancelled):
            return self._cancelled(reply)
        entry = self._running(reply.response_id) or self._began(reply)
        if entry is None:
            return False
        self._note(entry, reply)
        if not isinstance(reply, Started) or not entry.told:
            self._tell(_renamed(reply, entry.response_id))
        entry.told = True
        return True

    def refused(self, error: Error, wire_id: str) -> bool:
        """The server would not generate or cancel it; False when that does not matter any more."""
        sent = self._pipeline.answered(reply_key(wire_id))
        if sent is not None and isinstance(sent.entry, ReplyEntry):
            self._generate_refused(error, sent.entry)
            return True
        if sent is None and self._cancels and self._cancels[0].entry.wire_id == wire_id:
            self._cancel_refused(error)
            return True
        return False

    def lost(self) -> None:
        """The socket is gone. What was being generated ends here, unless nobody has heard of it yet."""
        self.connected = False
        self._cancel_request = None
        self._played.clear()
        self._carry_out()
        for entry in self._entries():
            if _is_running(entry):
                self._interrupt(entry)

    # ---------------------------------------------------------------------------------------------------------------

    def _answered(self, wire_id: str) -> None:
        sent = self._pipeline.answered(reply_key(wire_id))
        if sent is not None and sent.entry is not None:
            sent.entry.place = Place.WRITTEN

    def _began(self, reply: OfResponse) -> ReplyEntry | None:
        """A native engine starts responses itself, and names them."""
        if not self.native or not isinstance(reply, Started) or self._find(reply.response_id) is not None:
            return None
        entry = ReplyEntry(response_id=reply.response_id, native=True)
        self._pipeline.began(entry)
        return entry

    def _note(self, entry: ReplyEntry, reply: OfResponse) -> None:
        match reply:
            case Text(start=start, text=text):
                entry.spoken.add_text(start, text)
            case Speech():
                entry.spoken.add_speech(reply)
            case Done(reason="failed"):
                entry.settle(self._kept(entry, entry.spoken.speech_ms))
            case Done(engine_tokens=tokens):
                entry.spoken.finish()
                entry.settle(entry.spoken.text, tokens)
        self._log.recount(entry)

    def _generate_refused(self, error: Error, entry: ReplyEntry) -> None:
        self._pipeline.drop([entry], at_server=True)
        if not entry.cancelled:
            self._tell(_renamed(error, entry.response_id))

    def _cancel_refused(self, error: Error) -> None:
        if error.code in NOT_THERE:
            self._cut(self._cancels.popleft())
        else:
            entry = self._cancels.popleft().entry
            entry.cancelled = False
            self._tell(_renamed(error, entry.response_id))
        self._carry_out()

    def _carry_out(self) -> None:
        """One cancel after the other: where the server knows the response it answers, else the log alone is cut."""
        while self._cancels:
            cancel = self._cancels[0]
            if self.connected and cancel.entry.generated_here:
                self._cancel_request = Cancel(
                    response_id=cancel.entry.wire_id,
                    keep_ms=cancel.keep_ms,
                    discard=cancel.discard,
                    rollback_to_seq=cancel.rollback_to_wire,
                )
                return
            self._cut(self._cancels.popleft())

    def _cancelled(self, reply: Cancelled) -> bool:
        if not self._cancels or self._cancels[0].entry.wire_id != reply.response_id:
            return False
        cancel = self._cancels.popleft()
        entry = cancel.entry
        self._pipeline.kv_length = reply.kv_length
        self._pipeline.drop(cancel.undo, at_server=True)
        self._pipeline.server_stands_at(reply.last_seq, behind=entry)
        if cancel.discard or not (reply.kept_text or reply.engine_tokens):
            self._pipeline.drop([entry], at_server=True)
        else:
            entry.settle(reply.kept_text, reply.engine_tokens)
            entry.generated_here = False
            self._log.recount(entry)
        seq = self._log.seq_at(reply.last_seq)
        self._tell(msgspec.structs.replace(reply, response_id=entry.response_id, last_seq=seq))
        self._carry_out()
        return True

    def _cut(self, cancel: _Cancel) -> None:
        """Cut a response where the server cannot: in the log, whose words are then written again."""
        entry = cancel.entry
        self._pipeline.drop(cancel.undo)
        kept = "" if cancel.discard else self._kept(entry, cancel.keep_ms)
        if not entry.settled or kept != entry.text:
            self._resettle(entry, kept)
        seq = self._log.seq_at(self._log.last_wire)
        kv_length = self._pipeline.kv_length
        self._tell(Cancelled(response_id=entry.response_id, kept_text=kept, kv_length=kv_length, last_seq=seq))

    def _interrupt(self, entry: ReplyEntry) -> None:
        """The server was lost in the middle of it: ask again if nobody has heard of it, else it ends here."""
        if not entry.has_output and not entry.native and entry.attempts < MAX_ATTEMPTS:
            self._pipeline.rewrite(entry)
            entry.attempts += 1
            return
        self._resettle(entry, self._kept(entry, entry.spoken.speech_ms))
        self._tell(Done(response_id=entry.response_id, reason="failed"))

    def _resettle(self, entry: ReplyEntry, kept: str) -> None:
        self._pipeline.rewrite(entry)
        if kept:
            entry.settle(kept)
        else:
            self._pipeline.drop([entry])

    def _kept(self, entry: ReplyEntry, ms: float) -> str:
        """What `ms` of its speech say, never more than is settled; a silent session's text has been read as it came."""
        text = entry.spoken.heard(ms) if self.spoken else entry.spoken.text
        return entry.text if entry.settled and len(text) >= len(entry.text) else text

    def _running(self, wire_id: str) -> ReplyEntry | None:
        return next((e for e in self._entries() if e.wire_id == wire_id and _is_running(e)), None)

    def _find(self, response_id: str) -> ReplyEntry | None:
        waiting = [entry for entry in self._pipeline.waiting if isinstance(entry, ReplyEntry)]
        return next((e for e in [*waiting, *self._entries()] if e.response_id == response_id), None)

    def _entries(self) -> list[ReplyEntry]:
        """Newest first."""
        return [entry for entry in reversed(self._log.entries) if isinstance(entry, ReplyEntry)]


def _is_running(entry: ReplyEntry) -> bool:
    return entry.generated_here and not entry.settled and not entry.cancelled


def _renamed(reply: _Named, response_id: str) -> _Named:
    return reply if reply.response_id == response_id else msgspec.structs.replace(reply, response_id=response_id)
