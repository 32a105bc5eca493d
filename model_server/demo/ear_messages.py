"""Messages between the engine and the process that listens: 4 bytes of length, then msgpack."""

from __future__ import annotations

import struct
from typing import BinaryIO

import msgspec

from model_server.demo.grammar import Grammar

_LENGTH = struct.Struct("<I")
HEADER_BYTES = _LENGTH.size
MOST_BYTES = 16 * 1024 * 1024


class Learn(msgspec.Struct, tag="learn"):
    """First message: what to listen for."""

    grammar: Grammar


class Follow(msgspec.Struct, tag="follow"):
    """A turn so far, to be heard ahead of its end when there is time. Not answered; the newest of a session counts."""

    session: str
    pieces: list[bytes]


class Finish(msgspec.Struct, tag="finish"):
    """A whole turn, to be answered by `Heard` at once."""

    number: int
    session: str
    pieces: list[bytes]


class Sentence(msgspec.Struct, frozen=True):
    """See `model_server.demo.decoder.Words`."""

    text: str
    partial: str
    score: float


class Ready(msgspec.Struct, tag="ready"):
    """The grammar is learnt."""


class Heard(msgspec.Struct, tag="heard"):
    """The sentences of the turn of `Finish` with this number, in their order."""

    number: int
    sentences: list[Sentence]


ToEar = Learn | Follow | Finish
FromEar = Ready | Heard

_to_ear: msgspec.msgpack.Decoder[ToEar] = msgspec.msgpack.Decoder(ToEar)
_from_ear: msgspec.msgpack.Decoder[FromEar] = msgspec.msgpack.Decoder(FromEar)


def frame(message: ToEar | FromEar) -> bytes:
    """One message as it goes over the pipe."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


def length_of(header: bytes) -> int:
    """Bytes of the message that follows. Raises `ValueError`."""
    (length,) = _LENGTH.unpack(header)
    if length > MOST_BYTES:
        raise ValueError(f"a message between engine and ear has at most {MOST_BYTES} bytes, got {length}")
    return int(length)


def decode_from_ear(body: bytes) -> FromEar:
    """What the ear said. Raises `msgspec.MsgspecError`."""
    return _from_ear.decode(body)


def read_to_ear(stream: BinaryIO) -> ToEar | None:
    """The next message to the ear, or None at the end of the stream."""
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    return _to_ear.decode(stream.read(length_of(header)))
