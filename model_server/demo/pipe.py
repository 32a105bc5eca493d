"""Messages between the engine and its processes: 4 bytes of length, then msgpack."""

from __future__ import annotations

import struct
from typing import BinaryIO, TypeVar

import msgspec

MOST_BYTES = 16 * 1024 * 1024
_LENGTH = struct.Struct("<I")
HEADER_BYTES = _LENGTH.size

Message = TypeVar("Message")


class Ready(msgspec.Struct, tag="ready"):
    """First message of a process: it can be asked."""


def frame(message: object) -> bytes:
    """One message as it goes over the pipe."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


def length_of(header: bytes) -> int:
    """Bytes of the message that follows. Raises `ValueError`."""
    (length,) = _LENGTH.unpack(header)
    if length > MOST_BYTES:
        raise ValueError(f"a message between engine and process has at most {MOST_BYTES} bytes, got {length}")
    return int(length)


def read_frame(stream: BinaryIO, decoder: msgspec.msgpack.Decoder[Message]) -> Message | None:
    """The next message of a blocking stream, or None at its end."""
    header = stream.read(HEADER_BYTES)
    return decoder.decode(stream.read(length_of(header))) if len(header) == HEADER_BYTES else None
