"""What a session's context holds, in order: enough to build it again on another model server. Sans-I/O.

Entries are kept as they were sent (PCM16, JPEG, text) and replies as the engine's own tokens or, where they were cut,
the text that was heard. The engine says what its context has let go (`evicted`); beyond that the log is bounded itself:
the oldest pictures go first, then the oldest entries, and both are counted.

An item has two numbers: `seq` is ours and never used twice, `wire` is its number at the present server, where a replay
counts from 1 again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import msgspec

from model_server.protocol import (
    MAX_TEXT_CHARS,
    Append,
    Generate,
    GenerateOptions,
    Item,
    PictureItem,
    Prefill,
    Request,
    SessionConfig,
    TextItem,
    Unit,
    Update,
)
from realtime.session.spoken import SpokenText

MAX_BYTES = 32 * 1024 * 1024
MAX_ENTRIES = 4096


class Place(Enum):
    """How far an entry is on its way into the context."""

    WAITING = "waiting"
    SENT = "sent"
    WRITTEN = "written"
    GONE = "gone"
    """Undone, or back with the caller."""


@dataclass(slots=True, eq=False, kw_only=True)
class Entry(ABC):
    """One step of the session. `wire` is None for what takes no number there, and before it is sent."""

    place: Place = Place.WAITING
    wire: int | None = None
    told: bool = False
    """The caller knows that it was written (or, a reply, that it started): it is not told again after a replay."""
    counted: int = 0
    """The bytes that the log counts for it."""

    @abstractmethod
    def request(self, after: int) -> Request | None:
        """What writes this entry after item `after`; None when nothing is left to write."""

    @property
    def size(self) -> int:
        """Bytes it keeps in memory, roughly."""
        return 0


@dataclass(slots=True, eq=False, kw_only=True)
class ItemEntry(Entry):
    """A unit, text or picture of the person."""

    seq: int
    item: Item

    def request(self, after: int) -> Request:
        return Prefill(seq=after + 1, item=self.item)

    @property
    def size(self) -> int:
        return item_bytes(self.item)


@dataclass(slots=True, eq=False, kw_only=True)
class HistoryEntry(Entry):
    """History given by the caller."""

    seq: int
    role: Literal["user", "assistant", "tool"]
    text: str
    engine_tokens: bytes

    def request(self, after: int) -> Request:
        return Append(seq=after + 1, role=self.role, text=self.text, engine_tokens=self.engine_tokens)

    @property
    def size(self) -> int:
        return len(self.text) + len(self.engine_tokens)


@dataclass(slots=True, eq=False, kw_only=True)
class ConfigEntry(Entry):
    """Settings from here on."""

    config: SessionConfig

    def request(self, after: int) -> Request:
        return Update(config=self.config)


@dataclass(slots=True, eq=False, kw_only=True)
class ReplyEntry(Entry):
    """A response: asked for, being generated, or (`settled`) as it stays in the context.

    `response_id` is the caller's name for it, `wire_id` the server's: every attempt to generate it needs a new one.
    """

    response_id: str
    attempts: int = 1
    options: GenerateOptions = field(default_factory=GenerateOptions)
    native: bool = False
    """The engine began it by itself."""
    spoken: SpokenText = field(default_factory=SpokenText)
    settled: bool = False
    cancelled: bool = False
    """The caller wants nothing more of it."""
    generated_here: bool = False
    """The present server was asked for it, or began it, and knows it by `wire_id`."""
    text: str = ""
    engine_tokens: bytes = b""

    @property
    def wire_id(self) -> str:
        """The server's name for it."""
        return self.response_id if self.attempts == 1 else f"{self.response_id}.{self.attempts}"

    @property
    def has_output(self) -> bool:
        """Something of it was passed on."""
        return bool(self.spoken.text) or self.spoken.speech_ms > 0

    def settle(self, text: str, engine_tokens: bytes = b"") -> None:
        """From now on this is what the context holds of it."""
        self.settled, self.text, self.engine_tokens = True, text, engine_tokens

    def request(self, after: int) -> Request | None:
        if not self.settled:
            return Generate(response_id=self.wire_id, after_seq=after, options=self.options)
        if self.engine_tokens:
            return Append(seq=after + 1, role="assistant", engine_tokens=self.engine_tokens)
        # A reply beyond the protocol's limit has tokens; without them its latest words are what the talk goes on from.
        text = self.text.strip()[-MAX_TEXT_CHARS:]
        return Append(seq=after + 1, role="assistant", text=text) if text else None

    @property
    def size(self) -> int:
        return len(self.spoken.text) + len(self.engine_tokens)


def item_bytes(item: Item) -> int:
    """Bytes of what an item carries."""
    match item:
        case Unit(audio=audio, pictures=pictures):
            return len(audio) + sum(map(len, pictures))
        case PictureItem(jpeg=jpeg):
            return len(jpeg)
        case TextItem(text=text):
            return len(text)


class SessionLog:
    """What was sent into the context and not undone, oldest first."""

    def __init__(self, config: SessionConfig, *, max_bytes: int = MAX_BYTES, max_entries: int = MAX_ENTRIES) -> None:
        self.config = config
        """The settings before the first entry."""
        self.entries: list[Entry] = []
        self.bytes = 0
        self.pictures_trimmed = 0
        self.entries_trimmed = 0
        self._base_wire = 0
        self._base_seq = 0
        self._max_bytes = max_bytes
        self._max_entries = max_entries

    @property
    def last_wire(self) -> int:
        """The number of the last item the server has when all that is in the log is written."""
        return next((entry.wire for entry in reversed(self.entries) if entry.wire is not None), self._base_wire)

    @property
    def after_last_wire(self) -> int:
        """Index behind the last entry that has a number at the server."""
        return max((index + 1 for index, entry in enumerate(self.entries) if entry.wire is not None), default=0)

    def add(self, entry: Entry, *, before_unwritten: bool = False) -> None:
        """The next entry was sent; with `before_unwritten` it stands before what the server has not answered yet."""
        unwritten = (index for index, other in enumerate(self.entries) if other.place is Place.SENT)
        end = len(self.entries)
        self.entries.insert(next(unwritten, end) if before_unwritten else end, entry)
        entry.counted = 0
        self.recount(entry)
        self._trim()

    def recount(self, entry: Entry) -> None:
        """The size of an entry in the log has changed."""
        self.bytes += entry.size - entry.counted
        entry.counted = entry.size

    def take_out(self, entries: Sequence[Entry]) -> None:
        """These entries are not in the context (any more)."""
        gone = {id(entry) for entry in entries}
        self.entries = [entry for entry in self.entries if id(entry) not in gone]
        self.bytes -= sum(entry.counted for entry in entries)

    def restart(self) -> list[Entry]:
        """A new server: remove and return everything, to be sent again in order."""
        entries, self.entries = self.entries, []
        self.bytes = self._base_wire = 0
        return entries

    def after_seq(self, seq: int) -> int | None:
        """Index behind item `seq` (0: the beginning); None when the log does not hold that place."""
        if seq == self._base_seq:
            return 0
        return next((index + 1 for index, entry in enumerate(self.entries) if _seq(entry) == seq), None)

    def after_wire(self, wire: int) -> int:
        """Index of the first entry that the server does not have when it stands after item `wire`."""
        later = (i for i, entry in enumerate(self.entries) if entry.wire is not None and entry.wire > wire)
        return next(later, len(self.entries))

    def seq_at(self, wire: int) -> int:
        """Our number of the last item at or before the server's item `wire`."""
        seqs = (_seq(e) for e in reversed(self.entries) if e.wire is not None and e.wire <= wire)
        return next((seq for seq in seqs if seq is not None), self._base_seq)

    @property
    def base_seq(self) -> int:
        """Our number of the newest item that the log does not hold any more; 0 while it holds all."""
        return self._base_seq

    def wire_of(self, seq: int) -> int | None:
        """The server's number of our item `seq`; None when the log does not hold it."""
        if seq == self._base_seq:
            return self._base_wire
        return next((entry.wire for entry in self.entries if _seq(entry) == seq), None)

    def evict(self, up_to_wire: int) -> int:
        """The context has let go everything up to item `up_to_wire`; returns our number of that item."""
        dropped = sum(entry.wire is not None and entry.wire <= up_to_wire for entry in self.entries)
        while dropped:
            dropped -= self._drop_oldest().wire is not None
        return self._base_seq

    def _drop_oldest(self) -> Entry:
        entry = self.entries.pop(0)
        self.bytes -= entry.counted
        self._base_wire = entry.wire if entry.wire is not None else self._base_wire
        self._base_seq = _seq(entry) or self._base_seq
        if isinstance(entry, ConfigEntry):
            self.config = entry.config
        return entry

    def _trim(self) -> None:
        if self.bytes > self._max_bytes:
            self._trim_pictures()
        while self.entries and self.entries[0].place is Place.WRITTEN and self._over_full:
            self._drop_oldest()
            self.entries_trimmed += 1

    @property
    def _over_full(self) -> bool:
        return self.bytes > self._max_bytes or len(self.entries) > self._max_entries

    def _trim_pictures(self) -> None:
        for entry in self.entries:
            if self.bytes <= self._max_bytes or entry.place is not Place.WRITTEN:
                return
            if isinstance(entry, ItemEntry) and isinstance(entry.item, Unit) and entry.item.pictures:
                self.pictures_trimmed += len(entry.item.pictures)
                entry.item = without_pictures(entry.item)
                self.recount(entry)


def without_pictures(unit: Unit) -> Unit:
    """The same second, unseen."""
    return msgspec.structs.replace(unit, pictures=[])


def _seq(entry: Entry) -> int | None:
    return entry.seq if isinstance(entry, ItemEntry | HistoryEntry) else None
