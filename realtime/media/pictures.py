"""Pictures as they come: the header of a JPEG file, and files put together from the slices of the channel `camera`.

Only the header is read here; whoever looks at a picture decodes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from realtime.connection.frames import PictureKind, PictureSlice

MAX_SIDE = 4_096
MAX_PIXELS = 16_000_000
"""Larger pictures are refused before anybody decodes them."""

PictureCode = Literal["not_jpeg", "truncated", "too_large", "too_many_pixels", "missing_bytes"]

_SOI = b"\xff\xd8"
_EOI = b"\xff\xd9"
_SOS = 0xDA
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81 table B.1)."""


class PictureError(ValueError):
    """A picture that cannot be taken; `code` says why, the text what was expected, what came and what to do."""

    def __init__(self, code: PictureCode, message: str) -> None:
        super().__init__(message)
        self.code: PictureCode = code


@dataclass(frozen=True, slots=True)
class JpegInfo:
    """What the header says: `width` and `height` in pixels, `size` of the file in bytes."""

    width: int
    height: int
    size: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole JPEG file whose header was read."""

    kind: PictureKind
    jpeg: bytes
    info: JpegInfo


def read_jpeg_header(jpeg: bytes, max_bytes: int) -> JpegInfo:
    """Size and dimensions of a JPEG file, read up to its first scan. Raises `PictureError`."""
    if len(jpeg) > max_bytes:
        raise PictureError("too_large", f"a picture has at most {max_bytes} bytes, got {len(jpeg)}: send it smaller")
    if not jpeg.startswith(_SOI):
        raise PictureError("not_jpeg", f"a JPEG file begins with ff d8, got {jpeg[:2].hex(' ') or 'nothing'}")
    dimensions: tuple[int, int] | None = None
    offset = len(_SOI)
    while True:
        marker, start, end = _next_segment(jpeg, offset)
        if marker in _FRAME_HEADERS and dimensions is None:
            dimensions = _dimensions(jpeg[start:end])
        if marker == _SOS:
            break
        offset = end
    if dimensions is None:
        raise PictureError("not_jpeg", "a JPEG file has a frame header before its first scan, got none")
    if jpeg.rfind(_EOI, end) < 0:
        raise PictureError("truncated", f"the JPEG file stops after {len(jpeg)} bytes without its end: send all of it")
    return JpegInfo(*dimensions, len(jpeg))


def _next_segment(jpeg: bytes, offset: int) -> tuple[int, int, int]:
    """Marker of the segment at `offset`, and where its content starts and ends."""
    while offset + 1 < len(jpeg):
        if jpeg[offset] != 0xFF:
            raise PictureError("not_jpeg", f"a JPEG marker was expected at byte {offset}, got {jpeg[offset]:02x}")
        marker = jpeg[offset + 1]
        if marker == 0xFF:
            offset += 1
        elif marker in _STANDALONE:
            offset += 2
        else:
            return _bounds(jpeg, marker, offset + 2)
    raise PictureError("truncated", f"the JPEG file stops after {len(jpeg)} bytes, inside its header: send all of it")


def _bounds(jpeg: bytes, marker: int, offset: int) -> tuple[int, int, int]:
    if marker in (0xD8, 0xD9, 0x00):
        raise PictureError("not_jpeg", f"marker ff {marker:02x} at byte {offset - 2} has no place in a JPEG header")
    length = int.from_bytes(jpeg[offset : offset + 2], "big")
    end = offset + length
    if offset + 2 > len(jpeg) or end > len(jpeg):
        raise PictureError("truncated", f"a JPEG segment ends at byte {end}, the file has {len(jpeg)}: send all of it")
    if length < 2:
        raise PictureError("not_jpeg", f"a JPEG segment has at least 2 bytes, the one at {offset} says {length}")
    return marker, offset + 2, end


def _dimensions(frame_header: bytes) -> tuple[int, int]:
    """Width and height out of a frame header (ITU-T T.81 section B.2.2)."""
    if len(frame_header) < 6:
        raise PictureError("not_jpeg", f"a JPEG frame header has at least 6 bytes, got {len(frame_header)}")
    height, width = int.from_bytes(frame_header[1:3], "big"), int.from_bytes(frame_header[3:5], "big")
    if not width or not height:
        raise PictureError("not_jpeg", f"a picture has at least 1x1 pixels, the header says {width}x{height}")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise PictureError(
            "too_many_pixels",
            f"a picture has at most {MAX_SIDE} pixels a side and {MAX_PIXELS} in all, got {width}x{height}: "
            "scale it down",
        )
    return width, height


class PictureAssembler:
    """One client's channel `camera`: slices in, whole pictures out.

    Slices of one picture come in order; slices of a still and of a shown picture may alternate, so there is one of each
    kind in the making. A slice of a new number abandons the older one, which costs nothing: a newer picture is better.
    """

    def __init__(self) -> None:
        self._making: dict[PictureKind, _Making] = {}

    @property
    def buffered(self) -> int:
        """Bytes of unfinished pictures."""
        return sum(len(making.data) for making in self._making.values())

    def add(self, piece: PictureSlice) -> Picture | None:
        """A slice came; returns the picture it completes. Raises `PictureError` once per broken picture."""
        making = self._making.get(piece.kind)
        if making is None or making.number != piece.number or (piece.offset == 0 and not making.broken):
            making = self._making[piece.kind] = _Making(piece.number, piece.total)
        if making.broken:
            return None
        if piece.offset != len(making.data) or piece.total != making.total:
            raise self._break(making, piece)
        making.data += piece.data
        if len(making.data) < making.total:
            return None
        del self._making[piece.kind]
        jpeg = bytes(making.data)
        return Picture(piece.kind, jpeg, read_jpeg_header(jpeg, making.total))

    def _break(self, making: _Making, piece: PictureSlice) -> PictureError:
        expected = f"byte {len(making.data)} of {making.total}"
        making.broken = True
        making.data.clear()
        return PictureError(
            "missing_bytes",
            f"picture {piece.number} goes on with {expected}, got byte {piece.offset} of {piece.total}: "
            "send it again under a new number",
        )


@dataclass(slots=True)
class _Making:
    """A picture of which the first bytes are here; a broken one waits for the next number."""

    number: int
    total: int
    broken: bool = False
    data: bytearray = field(default_factory=bytearray)
