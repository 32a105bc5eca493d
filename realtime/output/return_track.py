"""The assistant's speech as an Opus track, for clients that open no channel `audio`.

Speech is encoded here, in the event loop, and handed to aiortc as finished packets: its own encoder (stereo, 96 kbit/s,
in another thread) costs as much as the rest of a call. While nothing is said nothing is sent: a few frames of silence
let the receiver's concealment fade, then RTP stops and its timestamps go on with real time, as in RFC 7587's DTX.
"""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, CodecContext
from av.packet import Packet

from model_server.protocol import SPEECH_RATE
from realtime.connection.frames import AUDIO_MESSAGE_SAMPLES, AudioMessage

RTP_RATE = 48_000
"""Opus counts RTP time at 48 kHz whatever the signal's rate (RFC 7587, section 4.1)."""

FRAME_S = AUDIO_MESSAGE_SAMPLES / SPEECH_RATE
FRAME_TICKS = RTP_RATE // 50
TIME_BASE = fractions.Fraction(1, RTP_RATE)
BIT_RATE = 32_000
COMPLEXITY = 1
"""libopus, 0..10: 1 costs half of 10, and from 1 to 5 the spectral distance to the original is the same."""

FADE_FRAMES = 5
"""Frames of silence after speech: they carry the encoder's look-ahead and end the receiver's concealment in silence."""

LATE_S = 0.1
"""Later than this, frames are not sent in a burst to catch up: the gap becomes elapsed time."""

MAX_BUFFERED_BYTES = 2 * SPEECH_RATE // 2
"""Half a second; playout hands over 60 ms ahead, so more means that nobody sends: the oldest goes."""

Sleep = Callable[[float], Awaitable[None]]


class SpeechEncoder:
    """Opus, 24 kHz mono in, one packet per 20 ms."""

    def __init__(self) -> None:
        codec = CodecContext.create("libopus", "w")
        codec.bit_rate = BIT_RATE
        codec.format = "s16"
        codec.layout = "mono"
        codec.sample_rate = SPEECH_RATE
        codec.time_base = fractions.Fraction(1, SPEECH_RATE)
        codec.options = {"application": "audio", "compression_level": str(COMPLEXITY), "frame_duration": "20"}
        self._codec = codec
        self._samples = 0

    def encode(self, pcm: bytes) -> bytes:
        """20 ms of PCM16 as one Opus packet."""
        frame = AudioFrame(format="s16", layout="mono", samples=AUDIO_MESSAGE_SAMPLES)
        frame.planes[0].update(pcm)
        frame.sample_rate = SPEECH_RATE
        frame.pts = self._samples
        self._samples += AUDIO_MESSAGE_SAMPLES
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


class ReturnTrack(MediaStreamTrack):
    """Feed it with `push` what `Playout` (mode `track`) says is due; aiortc pulls packets with `recv`."""

    kind = "audio"

    def __init__(self, clock: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        super().__init__()
        self.stale = 0
        """Messages of flushed responses that came late."""
        self.dropped_bytes = 0
        """Speech dropped because nobody pulled."""
        self._clock = clock
        self._sleep = sleep
        self._encoder: SpeechEncoder | None = None
        self._pcm = bytearray()
        self._flushed = 0
        self._fade = 0
        self._woken = asyncio.Event()
        self._next_at: float | None = None
        self._ticks = 0

    def push(self, message: AudioMessage) -> None:
        """Say this next; what belongs to a flushed response is dropped and counted."""
        if message.number <= self._flushed:
            self.stale += 1
            return
        self._pcm += message.pcm
        excess = len(self._pcm) - MAX_BUFFERED_BYTES
        if excess > 0:
            self.dropped_bytes += excess
            del self._pcm[:excess]
        self._woken.set()

    def flush(self, number: int) -> None:
        """Response `number` and all before it are over: nothing of them leaves from now on."""
        self._flushed = max(self._flushed, number)
        self._pcm.clear()

    async def recv(self) -> Packet[Any]:
        """The next Opus packet when it is due; waits as long as nothing is said. Raises when the track has ended."""
        await self._something_to_send()
        self._ticks += await self._pace()
        packet: Packet[Any] = Packet(self._encode_next())
        packet.pts, packet.time_base = self._ticks, TIME_BASE
        return packet

    def stop(self) -> None:
        """End the track; a waiting `recv` ends with it."""
        super().stop()
        self._pcm.clear()
        self._woken.set()

    async def _something_to_send(self) -> None:
        while not self._pcm and not self._fade and self.readyState == "live":
            self._woken.clear()
            await self._woken.wait()
        if self.readyState != "live":
            raise MediaStreamError

    async def _pace(self) -> int:
        """Wait until the next frame is due; returns RTP ticks since the last one: 20 ms, or the time of a silence."""
        now = self._clock()
        if self._next_at is None:
            self._next_at = now + FRAME_S
            return 0
        late = now - self._next_at
        if late > LATE_S:
            self._next_at = now + FRAME_S
            return FRAME_TICKS + round(late * RTP_RATE)
        self._next_at += FRAME_S
        if late < 0:
            await self._sleep(-late)
        return FRAME_TICKS

    def _encode_next(self) -> bytes:
        if self._encoder is None:
            self._encoder = SpeechEncoder()
        size = 2 * AUDIO_MESSAGE_SAMPLES
        self._fade = FADE_FRAMES if self._pcm else max(0, self._fade - 1)
        pcm = bytes(self._pcm[:size])
        del self._pcm[:size]
        return self._encoder.encode(pcm.ljust(size, b"\0"))
