"""Puts the key frames of a video stream together from its RTP packets and lets everything else go. Sans-I/O.

A frame is whole as soon as its marked last packet and all before it are here; unlike a jitter buffer, nothing waits for
the next frame to begin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_FRAMES = 16
"""Frames in the making; the oldest go first. At 30 a second that leaves a retransmission half a second."""

MAX_BYTES = 2 * 1024 * 1024
"""Of all frames in the making."""

_H264_START = re.compile(rb"\x00\x00\x00\x01[\x07\x27\x47\x67\x09\x29\x49\x69]")
_H264_PARAMETERS = re.compile(rb"\x00\x00\x00\x01[\x07\x27\x47\x67]")
_H264_INSTANT = re.compile(rb"\x00\x00\x00\x01[\x05\x25\x45\x65]")
"""NAL units 7 or 9 (sequence parameters, delimiter) begin an access unit; 7 and 5 (IDR slice) make it a key frame."""


@dataclass(frozen=True, slots=True)
class VideoPacket:
    """One RTP packet: `codec` is `VP8` or `H264`, `payload` as on the wire, `data` without the payload's own header
    (H.264: NAL units behind four-byte start codes)."""

    codec: str
    ssrc: int
    sequence: int
    timestamp: int
    last: bool
    payload: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A whole picture as `codec` encodes it."""

    codec: str
    data: bytes


@dataclass(slots=True)
class _Frame:
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int = 0
    first: int | None = None
    last: int | None = None

    def is_whole(self) -> bool:
        if self.first is None or self.last is None:
            return False
        return len(self.parts) == ((self.last - self.first) & 0xFFFF) + 1

    def join(self) -> bytes:
        assert self.first is not None
        return b"".join(self.parts[self.first + place & 0xFFFF] for place in range(len(self.parts)))


class KeyFrameAssembler:
    """One track's key frames. Holds at most `MAX_FRAMES` and `MAX_BYTES`."""

    def __init__(self) -> None:
        self._frames: dict[int, _Frame] = {}
        self._size = 0
        self._ssrc: int | None = None
        self._newest: int | None = None

    @property
    def frames(self) -> int:
        """Frames in the making."""
        return len(self._frames)

    @property
    def buffered(self) -> int:
        """Bytes of the frames in the making."""
        return self._size

    def add(self, packet: VideoPacket) -> KeyFrame | None:
        """A packet came, in any order; returns the key frame it completes, if it is newer than the last one."""
        if packet.ssrc != self._ssrc:
            self._start_over(packet.ssrc)
        frame = self._frames.setdefault(packet.timestamp, _Frame())
        if packet.sequence in frame.parts:
            return None
        self._put(frame, packet)
        if not frame.is_whole():
            self._bound()
            return None
        self._drop(packet.timestamp)
        data = frame.join()
        if not _is_key_frame(packet.codec, data) or not self._is_newer(packet.timestamp):
            return None
        self._newest = packet.timestamp
        return KeyFrame(packet.codec, data)

    def _put(self, frame: _Frame, packet: VideoPacket) -> None:
        frame.parts[packet.sequence] = packet.data
        frame.size += len(packet.data)
        self._size += len(packet.data)
        if _begins_key_frame(packet):
            frame.first = packet.sequence
        if packet.last:
            frame.last = packet.sequence

    def _bound(self) -> None:
        while len(self._frames) > MAX_FRAMES or self._size > MAX_BYTES:
            self._drop(next(iter(self._frames)))

    def _drop(self, timestamp: int) -> None:
        self._size -= self._frames.pop(timestamp).size

    def _is_newer(self, timestamp: int) -> bool:
        return self._newest is None or 0 < (timestamp - self._newest & 0xFFFF_FFFF) < 0x8000_0000

    def _start_over(self, ssrc: int) -> None:
        self._frames.clear()
        self._size = 0
        self._ssrc, self._newest = ssrc, None


def _begins_key_frame(packet: VideoPacket) -> bool:
    if packet.codec == "VP8":
        starts = packet.payload[0] & 0x10 and not packet.payload[0] & 0x07  # RFC 7741 section 4.2: S = 1, PID = 0
        return bool(starts and packet.data and _is_key_frame("VP8", packet.data))
    return _H264_START.match(packet.data) is not None


def _is_key_frame(codec: str, data: bytes) -> bool:
    if codec == "VP8":
        return not data[0] & 0x01  # RFC 6386 section 9.1: P = 0
    return bool(_H264_PARAMETERS.search(data) and _H264_INSTANT.search(data))
