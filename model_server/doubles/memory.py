"""What a double was given, as an immutable value: a mark is a reference to it, a rollback an assignment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from model_server.engine import ItemRejected
from model_server.protocol import HEARING_RATE, Item, PictureItem, SessionConfig, TextItem, Unit

CONTEXT = 8_192
"""Positions a double remembers; the oldest entries go when there are more, down to three quarters."""

UNIT_POSITIONS = 25
PICTURE_POSITIONS = 64
CHARACTERS_PER_POSITION = 4

JPEG_END = b"\xff\xd9"
TOKENS_HEAD = b"double1:"

Kind = Literal["unit", "user", "picture", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing written: `digest` of all of it, and what a reply says about it. A response is no `item`."""

    kind: Kind
    digest: bytes
    positions: int
    item: bool = True
    audio_ms: int = 0
    audio: bytes = b""
    pictures: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Memory:
    """Everything written that the context still holds, oldest first. `evicted`: items it let go of."""

    entries: tuple[Entry, ...] = ()
    positions: int = 0
    evicted: int = 0

    def with_item(self, item: Item) -> Memory:
        """With one more item. Raises `ItemRejected` for a picture without an end."""
        return self._with(_entry_of(item))

    def with_history(self, role: str, text: str, engine_tokens: bytes) -> Memory:
        """With appended history; an assistant's is the same as if it had been said here. Raises `ItemRejected`."""
        if role == "assistant":
            return self._with_reply(tokens_text(engine_tokens) if engine_tokens else text, item=True)
        return self._with(_text_entry("tool" if role == "tool" else "user", text))

    def with_reply(self, text: str) -> Memory:
        """With a reply of the double itself."""
        return self._with_reply(text, item=False)

    @property
    def turn(self) -> tuple[Entry, ...]:
        """What was written since the last reply."""
        replies = [index for index, entry in enumerate(self.entries) if entry.kind == "assistant"]
        return self.entries[replies[-1] + 1 :] if replies else self.entries

    def digest(self, config: SessionConfig, extra: str = "") -> str:
        """Six hexadecimal digits that depend on every entry, the settings and `extra`."""
        parts = [msgspec.msgpack.encode(config), extra.encode(), *(entry.digest for entry in self.entries)]
        return hashlib.blake2b(b"".join(parts), digest_size=3).hexdigest()

    def _with_reply(self, text: str, *, item: bool) -> Memory:
        silent = tuple(replace(entry, audio=b"") if entry.audio else entry for entry in self.entries)
        reply = replace(_text_entry("assistant", text), item=item)
        return replace(self, entries=silent)._with(reply)

    def _with(self, entry: Entry) -> Memory:
        grown = replace(self, entries=(*self.entries, entry), positions=self.positions + entry.positions)
        return grown._thinned() if grown.positions > CONTEXT else grown

    def _thinned(self) -> Memory:
        entries, positions, evicted = list(self.entries), self.positions, self.evicted
        while positions > CONTEXT * 3 // 4 and len(entries) > 1:
            oldest = entries.pop(0)
            positions -= oldest.positions
            evicted += oldest.item
        return Memory(tuple(entries), positions, evicted)


def tokens_of(text: str) -> bytes:
    """A reply as `append` takes it back."""
    return TOKENS_HEAD + text.encode()


def tokens_text(engine_tokens: bytes) -> str:
    """What `tokens_of` was made of. Raises `ItemRejected`."""
    if not engine_tokens.startswith(TOKENS_HEAD):
        raise ItemRejected("these engine tokens are of another engine: append the reply's text instead")
    try:
        return engine_tokens[len(TOKENS_HEAD) :].decode()
    except UnicodeDecodeError as error:
        raise ItemRejected(f"these engine tokens are damaged ({error}): append the reply's text instead") from error


def _entry_of(item: Item) -> Entry:
    match item:
        case Unit():
            return _unit_entry(item)
        case TextItem():
            return _text_entry("user", item.text)
        case PictureItem():
            _check_whole(item.jpeg)
            return Entry("picture", _digest("picture", item.jpeg), PICTURE_POSITIONS, pictures=1)


def _unit_entry(unit: Unit) -> Entry:
    for jpeg in unit.pictures:
        _check_whole(jpeg)
    flags = f"unit {unit.voiced:d}{unit.last:d}"
    return Entry(
        "unit",
        _digest(flags, unit.audio, *unit.pictures),
        UNIT_POSITIONS + PICTURE_POSITIONS * len(unit.pictures),
        audio_ms=len(unit.audio) // 2 * 1000 // HEARING_RATE if unit.voiced else 0,
        audio=unit.audio if unit.voiced else b"",
        pictures=len(unit.pictures),
    )


def _text_entry(kind: Kind, text: str) -> Entry:
    return Entry(kind, _digest(kind, text.encode()), 1 + len(text) // CHARACTERS_PER_POSITION, text=text)


def _digest(kind: str, *parts: bytes) -> bytes:
    lengths = ",".join(str(len(part)) for part in parts)
    return hashlib.blake2b(b"".join([f"{kind}:{lengths}:".encode(), *parts]), digest_size=8).digest()


def _check_whole(jpeg: bytes) -> None:
    if JPEG_END not in jpeg:
        raise ItemRejected(f"the picture of {len(jpeg)} bytes has no end (ff d9): send the whole JPEG file")
