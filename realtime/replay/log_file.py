"""The file of one recorded call: a line that says what it is, then one zlib stream of records.

Each record is its length (u32, little-endian) and msgpack. The stream is flushed every second or so: of a call that was
cut off, everything but the last second can be read.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from realtime.replay.records import FORMAT, AnyRecord, Header, Over

MAGIC = b"minicpm-o-call event log 1\n"
MAX_RECORD_BYTES = 8 * 1024 * 1024
"""A picture that is shown has 2 MB; nothing that enters a call is larger than a few of them."""

READ_BYTES = 64 * 1024
LEVEL = 1
"""zlib's fastest: speech shrinks little, and events shrink at any level."""

_LENGTH = struct.Struct("<I")


class LogError(ValueError):
    """A file that is no log of a call, or not one of this version; the text says what was expected and what came."""


class LogTruncated(LogError):
    """The log stops before its end; what came before is good."""


class LogWriter:
    """Writes one new file, readable by its owner alone. Blocks: not for the event loop. Raises `OSError`."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._deflate = zlib.compressobj(LEVEL)
        self.size = self._file.write(MAGIC)
        """Bytes so far."""

    def write(self, records: bytes) -> None:
        """Whole encoded records."""
        self._out(self._deflate.compress(records) + self._deflate.flush(zlib.Z_SYNC_FLUSH))

    def close(self) -> None:
        """Finish the stream."""
        try:
            self._out(self._deflate.flush(zlib.Z_FINISH))
        finally:
            self._file.close()

    def _out(self, data: bytes) -> None:
        self.size += self._file.write(data)
        self._file.flush()


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyRecord] = msgspec.msgpack.Decoder(AnyRecord)


def encode_record(record: AnyRecord, out: bytearray) -> None:
    """Append one record, with its length before it."""
    body = _encoder.encode(record)
    out += _LENGTH.pack(len(body))
    out += body


def read_log(path: Path) -> Iterator[AnyRecord]:
    """The records of a file, its `Header` first and `Over` last. Raises `LogError`, `LogTruncated` where it stops."""
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
        if magic != MAGIC:
            raise LogError(f"expected a file that begins with {MAGIC.decode().strip()!r}, got {magic[:16]!r}")
        records = _records(file)
        yield _header(next(records, None))
        record: AnyRecord | None = None
        for record in records:
            yield record
        if not isinstance(record, Over):
            raise LogTruncated("the log stops between two records, before its last: the gateway was cut off")


def _header(record: AnyRecord | None) -> Header:
    if not isinstance(record, Header):
        got = type(record).__name__ if record is not None else "nothing"
        raise LogError(f"the first record of a log is its header, got {got}")
    if record.format != FORMAT:
        raise LogError(f"this version reads logs of format {FORMAT}, got format {record.format}")
    return record


def _records(file: BinaryIO) -> Iterator[AnyRecord]:
    waiting = bytearray()
    for piece in _inflated(file):
        waiting += piece
        start = 0
        while len(waiting) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(waiting, start)
            if length > MAX_RECORD_BYTES:
                raise LogError(f"a record has at most {MAX_RECORD_BYTES} bytes, the file says {length}")
            body = start + _LENGTH.size
            if len(waiting) - body < length:
                break
            yield _decode(memoryview(waiting)[body : body + length].tobytes())
            start = body + length
        del waiting[:start]
    if waiting:
        raise LogTruncated(f"the log stops inside a record, {len(waiting)} bytes into it: the gateway was cut off")


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    try:
        while piece := file.read(READ_BYTES):
            yield inflate.decompress(piece)
    except zlib.error as error:
        raise LogError(f"the log is damaged: {error}") from error


def _decode(body: bytes) -> AnyRecord:
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise LogError(f"the log has a record that cannot be read: {error}") from error
