"""Binary messages of the data channels `audio` (gateway to page) and `camera` (page to gateway), little-endian.

`audio`, unordered, `maxPacketLifeTime` 250: one message is 20 ms of speech.

    0  u32  response number (1, 2, ...: `response.created.number`)
    4  u32  position of the first sample in the response, 24 kHz samples
    8  u16  flags: 1 = last message of the response (its trailers repeat it without samples)
    10 u16  samples that follow
    12 PCM16 mono 24 kHz

`camera`, ordered and reliable: one message is one slice of one JPEG file.

    0  u8   kind: 1 = still of the camera, 2 = a picture the person shows
    1  u8   zero
    2  u16  picture number, modulo 65 536
    4  u32  offset of this slice in the file
    8  u32  size of the file
    12 at most 16 372 bytes of it
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

AUDIO_HEADER = struct.Struct("<IIHH")
AUDIO_MESSAGE_SAMPLES = 480
LAST = 1

CAMERA_HEADER = struct.Struct("<BBHII")
MAX_SLICE_BYTES = 16 * 1024 - CAMERA_HEADER.size
MAX_STILL_BYTES = 256 * 1024
MAX_SHOWN_BYTES = 2 * 1024 * 1024


class PictureKind(IntEnum):
    """What a picture on the channel `camera` is."""

    STILL = 1
    SHOWN = 2


class FrameError(ValueError):
    """A binary message that does not have the form above; the text says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class AudioMessage:
    """20 ms of speech of response `number`, placed by sample `position` (24 kHz)."""

    number: int
    position: int
    pcm: bytes
    last: bool = False


@dataclass(frozen=True, slots=True)
class PictureSlice:
    """A slice of picture `number`, to be put at `offset` of `total` bytes."""

    kind: PictureKind
    number: int
    offset: int
    total: int
    data: bytes


def encode_audio(message: AudioMessage) -> bytes:
    """The wire form of one audio message."""
    flags = LAST if message.last else 0
    return AUDIO_HEADER.pack(message.number, message.position, flags, len(message.pcm) // 2) + message.pcm


def decode_audio(data: bytes) -> AudioMessage:
    """What `encode_audio` wrote. Raises `FrameError`."""
    if len(data) < AUDIO_HEADER.size:
        raise FrameError(f"an audio message has at least {AUDIO_HEADER.size} bytes, got {len(data)}")
    number, position, flags, samples = AUDIO_HEADER.unpack_from(data)
    pcm = data[AUDIO_HEADER.size :]
    if len(pcm) != 2 * samples:
        raise FrameError(f"the header promises {samples} samples, {len(pcm)} bytes follow")
    return AudioMessage(number, position, pcm, last=bool(flags & LAST))


def encode_picture_slice(piece: PictureSlice) -> bytes:
    """The wire form of one slice."""
    return CAMERA_HEADER.pack(piece.kind, 0, piece.number, piece.offset, piece.total) + piece.data


def decode_picture_slice(data: bytes) -> PictureSlice:
    """One slice as a page sent it. Raises `FrameError`; limits are checked before anything is kept."""
    if len(data) <= CAMERA_HEADER.size:
        raise FrameError(f"a picture slice has more than {CAMERA_HEADER.size} bytes, got {len(data)}")
    kind, _, number, offset, total = CAMERA_HEADER.unpack_from(data)
    body = data[CAMERA_HEADER.size :]
    if kind not in (PictureKind.STILL, PictureKind.SHOWN):
        raise FrameError(f"picture kind is 1 (still) or 2 (shown), got {kind}")
    limit = MAX_STILL_BYTES if kind == PictureKind.STILL else MAX_SHOWN_BYTES
    if not 0 < total <= limit:
        raise FrameError(f"a picture of kind {kind} has 1 to {limit} bytes, the header says {total}")
    if len(body) > MAX_SLICE_BYTES or offset + len(body) > total:
        raise FrameError(f"slice {offset}+{len(body)} does not fit a picture of {total} bytes")
    return PictureSlice(PictureKind(kind), number, offset, total, body)
