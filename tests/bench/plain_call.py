"""A caller that costs little: signalling and channels by aiortc, the microphone as ready-made RTP packets.

One process carries dozens of these beside the gateway it measures. The microphone's packets go straight into aiortc's
transport; no track is encoded and no task is woken for each packet but one that all callers of a process share.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import httpx
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtpPacket

from realtime.connection.frames import (
    MAX_SLICE_BYTES,
    AudioMessage,
    PictureKind,
    PictureSlice,
    decode_audio,
    encode_picture_slice,
)
from tests.bench.sound import FRAME

SAMPLES_PER_MS = 24
OPUS = re.compile(r"a=rtpmap:(\d+) opus/48000", re.IGNORECASE)
EXTENSIONS = ["output_audio_buffer.paused", "output_audio_buffer.resumed", "ping"]


class PlainCall:
    """One call. `on_event` and `on_audio` are called with everything that comes."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self.on_event: Callable[[dict[str, Any]], None] = lambda event: None
        self.on_audio: Callable[[AudioMessage], None] = lambda message: None
        self._payloads = payloads
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._sender = self._peer.addTransceiver("audio", direction="sendonly").sender
        self._events = self._peer.createDataChannel("oai-events")
        self._camera = self._peer.createDataChannel("camera")
        audio = self._peer.createDataChannel("audio", ordered=False, maxPacketLifeTime=250)
        self._events.on("message", self._take_event)
        audio.on("message", lambda data: self.on_audio(decode_audio(data)))
        self._created = asyncio.Event()
        self._payload_type = 0
        self._sent = 0
        self._pictures = 0
        self._place = self._secret = ""

    async def dial(self, client: httpx.AsyncClient) -> None:
        """Connect; returns when `session.created` is here. Raises `httpx.HTTPStatusError`, `TimeoutError`."""
        await self._peer.setLocalDescription(await self._peer.createOffer())
        offer = self._peer.localDescription.sdp
        answer = await client.post("/v1/realtime/calls", content=offer, headers={"Content-Type": "application/sdp"})
        answer.raise_for_status()
        self._place, self._secret = answer.headers["Location"], answer.headers["Call-Secret"]
        found = OPUS.search(answer.text)
        assert found is not None, "the answer takes no Opus"
        self._payload_type = int(found[1])
        await self._peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        await asyncio.wait_for(self._created.wait(), 15)
        self.send(type="session.update", session={"extensions": EXTENSIONS})

    async def hang_up(self, client: httpx.AsyncClient) -> None:
        """End the call on both sides."""
        with suppress(httpx.HTTPError):
            await client.delete(self._place, headers={"Authorization": f"Call {self._secret}"})
        await self.close()

    async def close(self) -> None:
        """Free this side."""
        await self._peer.close()

    def send(self, **event: Any) -> None:
        """One event to the gateway."""
        self._events.send(json.dumps(event))

    async def send_sound(self) -> None:
        """The next 20 ms of the microphone."""
        number = self._sent
        self._sent += 1
        packet = RtpPacket(
            payload_type=self._payload_type,
            sequence_number=number & 0xFFFF,
            timestamp=number * FRAME & 0xFFFF_FFFF,
            ssrc=self._sender._ssrc,
            payload=self._payloads[number % len(self._payloads)],
        )
        with suppress(ConnectionError):
            await self._sender.transport._send_rtp(packet.serialize())

    def send_still(self, jpeg: bytes) -> None:
        """One picture of the camera; skipped while the last one is still on its way."""
        if self._camera.readyState != "open" or self._camera.bufferedAmount:
            return
        self._pictures += 1
        for offset in range(0, len(jpeg), MAX_SLICE_BYTES):
            data = jpeg[offset : offset + MAX_SLICE_BYTES]
            piece = PictureSlice(PictureKind.STILL, self._pictures & 0xFFFF, offset, len(jpeg), data)
            self._camera.send(encode_picture_slice(piece))

    @property
    def channel(self) -> RTCDataChannel:
        """The channel of events."""
        return self._events

    def _take_event(self, data: str) -> None:
        event = json.loads(data)
        if event["type"] == "session.created":
            self._created.set()
        elif event["type"] == "ping":
            self.send(type="pong", nonce=event["nonce"])
        self.on_event(event)


class Ear:
    """The loudspeaker of a plain call: plays what came, in real time, and reports it every 100 ms as a page does."""

    EVERY_S = 0.1

    def __init__(self, call: PlainCall) -> None:
        self._call = call
        self._ids: dict[int, str] = {}
        self._number = 0
        self._end = 0
        self._last = False
        self._began = 0.0
        self._report_at = 0.0
        self.messages = 0
        """Messages of speech so far."""
        self.next_number = 0

    def event(self, event: dict[str, Any]) -> None:
        """An event of the gateway."""
        if event["type"] == "response.created":
            self._ids[event["number"]] = event["response"]["id"]
        elif event["type"] == "output_audio_buffer.cleared" and event["response_id"] == self._ids.get(self._number):
            self._report(self._played_ms(self._report_at), final=True)
            self._number = 0

    def audio(self, message: AudioMessage, now: float) -> None:
        """A message of speech."""
        self.messages += 1
        if message.number > self._number:
            self._number, self._end, self._last, self._began, self._report_at = message.number, 0, False, now, now
        self._end = max(self._end, message.position + len(message.pcm) // 2)
        self._last = self._last or message.last

    def tick(self, now: float) -> None:
        """Time has passed: report when that is due."""
        if not self._number or now < self._report_at:
            return
        self._report_at = now + self.EVERY_S
        played = self._played_ms(now)
        over = self._last and played >= self._end / SAMPLES_PER_MS
        self._report(played, final=over)
        if over:
            self._number = 0

    def _played_ms(self, now: float) -> float:
        return min(1000 * (now - self._began), self._end / SAMPLES_PER_MS)

    def _report(self, played_ms: float, *, final: bool) -> None:
        response_id = self._ids.get(self._number)
        if response_id is not None:
            self._call.send(type="playback.ack", response_id=response_id, played_ms=round(played_ms, 1), final=final)
