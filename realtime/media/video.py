"""Taps in the place of aiortc's jitter buffers: packets become ours, while RTCP reports and NACKs stay aiortc's.

aiortc's receiver calls `add(packet)` of a private attribute for every packet that it has decrypted and counted, and
decodes in a thread what that returns. A tap keeps the packet and returns no frame, so that thread never works.
`tests/realtime/test_video.py` asserts that the seams are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from aiortc import RTCRtpReceiver
from aiortc.rtp import RtpPacket

from realtime.media.key_frames import KeyFrame, KeyFrameAssembler, VideoPacket
from realtime.media.stills import key_frame_to_jpeg

log = structlog.get_logger(__name__)

KEY_FRAME_EVERY_S = 1.0
"""A key frame is asked for this often (RTCP PLI): one picture per unit."""

JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
CODECS = "_RTCRtpReceiver__codecs"


class AudioTap:
    """Hands every packet of an audio track to `callback`, in the event loop, as it arrives."""

    def __init__(self, callback: Callable[[RtpPacket], None]) -> None:
        self._callback = callback

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        """What aiortc calls; never asks for anything and never returns a frame."""
        _shielded(self._callback, packet)
        return False, None


class KeyFrameTap:
    """Keeps the newest key frame of a video track, still encoded, and asks for a new one every second."""

    def __init__(self, receiver: RTCRtpReceiver, clock: Callable[[], float] = time.monotonic) -> None:
        self._codecs: dict[int, Any] = getattr(receiver, CODECS)
        self._clock = clock
        self._assembler = KeyFrameAssembler()
        self._newest: KeyFrame | None = None
        self._asked: float | None = None
        setattr(receiver, JITTER_BUFFER, self)

    @property
    def has_new(self) -> bool:
        """Whether `newest_jpeg` would give a picture."""
        return self._newest is not None

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        """What aiortc calls; True asks the sender for a key frame."""
        _shielded(self._keep, packet)
        return self._must_ask(), None

    def newest_jpeg(self, max_side: int = 1024) -> bytes | None:
        """The newest picture as JPEG, each once; None when none came since. Blocks 5 to 50 ms: call it in a thread.

        Raises `realtime.media.stills.StillError`.
        """
        frame, self._newest = self._newest, None
        return None if frame is None else key_frame_to_jpeg(frame, max_side)

    def _keep(self, packet: RtpPacket) -> None:
        data: bytes = getattr(packet, "_data", b"")
        if not data:
            return
        codec = self._codecs[packet.payload_type].name
        frame = self._assembler.add(
            VideoPacket(
                codec=codec,
                ssrc=packet.ssrc,
                sequence=packet.sequence_number,
                timestamp=packet.timestamp,
                last=bool(packet.marker),
                payload=packet.payload,
                data=data,
            )
        )
        if frame is not None:
            self._newest = frame

    def _must_ask(self) -> bool:
        now = self._clock()
        if self._asked is not None and now - self._asked < KEY_FRAME_EVERY_S:
            return False
        self._asked = now
        return True


def _shielded(callback: Callable[[RtpPacket], None], packet: RtpPacket) -> None:
    """An error of ours must not escape into aiortc's receive loop: it would end the whole connection."""
    try:
        callback(packet)
    except Exception:
        log.exception("packet_dropped", payload_type=packet.payload_type)
