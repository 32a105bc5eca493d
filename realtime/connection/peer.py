"""One peer connection: tracks in, channels by label, the seams into aiortc. Knows nothing of turns or models.

aiortc's own audio jitter buffer adds 80 ms and its video decoder decodes every frame: both are replaced by taps before
media flows (`realtime.media.video`), so RTCP reports stay aiortc's and packets are ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import aioice.ice
import structlog
from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtp import RtpPacket

from realtime.connection.channels import AUDIO, CAMERA, EVENTS, LABELS
from realtime.connection.inbox import receive_directly
from realtime.connection.sctp import SpeechSctpTransport, prepare_timers, raise_window
from realtime.media.video import AudioTap, KeyFrameTap
from realtime.web.offers import OfferRejected

log = structlog.get_logger(__name__)

CONSENT_INTERVAL_S = 1
CONSENT_FAILURES = 6
"""RFC 7675 asks for consent checks every 5 s and gives up after 30 s; a vanished peer must be gone within 10 s."""

GATHER_TIMEOUT_S = 5.0
MAX_BUFFERED_EVENTS = 4 * 1024 * 1024
"""Bytes of events a client may leave unread before the call ends."""

MAX_BUFFERED_AUDIO = 64 * 1024
"""Bytes of speech waiting in the channel beyond which a message is not sent: late speech is worth nothing."""


class PeerOwner(Protocol):
    """What a peer tells its call; every method is called in the event loop and must not block."""

    def on_audio(self, packet: RtpPacket) -> None: ...
    def on_event(self, data: str | bytes) -> None: ...
    def on_picture(self, data: str | bytes) -> None: ...
    def on_channel(self, label: str) -> None: ...
    def on_unknown_channel(self, label: str) -> None: ...
    def on_connected(self) -> None: ...
    def on_lost(self, reason: str) -> None: ...


def prepare_connections(*, loopback_candidates: bool) -> None:
    """Set what holds for every connection of the process: timers, and loopback addresses as candidates for tests."""
    prepare_timers()
    aioice.ice.CONSENT_INTERVAL = CONSENT_INTERVAL_S
    aioice.ice.CONSENT_FAILURES = CONSENT_FAILURES
    if loopback_candidates:
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"] if use_ipv4 else ["::1"]


class Peer:
    """Answers one offer and carries it until `close`. `return_track` speaks to clients without the channel `audio`."""

    def __init__(self, owner: PeerOwner, ice_servers: Sequence[RTCIceServer], return_track: MediaStreamTrack) -> None:
        self._owner = owner
        self._return_track = return_track
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=list(ice_servers)))
        self._channels: dict[str, RTCDataChannel] = {}
        self._closed = False
        self.video: KeyFrameTap | None = None
        self.has_return_track = False
        self.audio_dropped = 0
        """Messages of speech not sent because the channel was full."""
        self._connection.on("track", self._on_track)
        self._connection.on("datachannel", self._on_channel)
        self._connection.on("connectionstatechange", self._on_state)

    async def answer(self, offer_sdp: str) -> str:
        """The SDP answer to a checked offer. Raises `OfferRejected` when aiortc cannot make sense of it."""
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
            raise_window(self._connection)
            receive_directly(self._connection)
            self._choose_opus()
            self._offer_return_track()
            answer = await self._connection.createAnswer()
            await asyncio.wait_for(self._connection.setLocalDescription(answer), GATHER_TIMEOUT_S)
        except (ValueError, KeyError, IndexError, AttributeError, AssertionError, TypeError) as error:
            # aiortc's parser raises all of these on malformed SDP.
            raise OfferRejected("invalid_sdp", f"the offer cannot be answered: {error}") from error
        return str(self._connection.localDescription.sdp)

    def is_open(self, label: str) -> bool:
        """Whether the client's channel `label` is open."""
        channel = self._channels.get(label)
        return channel is not None and channel.readyState == "open"

    def send_event(self, text: str) -> None:
        """Send one event; a client that stopped reading is lost."""
        if not self.is_open(EVENTS):
            return
        if self._channels[EVENTS].bufferedAmount > MAX_BUFFERED_EVENTS:
            self._owner.on_lost("events_unread")
            return
        self._channels[EVENTS].send(text)

    def send_audio(self, message: bytes) -> bool:
        """Send 20 ms of speech now or never; says whether it went."""
        if not self.is_open(AUDIO) or self._channels[AUDIO].bufferedAmount > MAX_BUFFERED_AUDIO:
            self.audio_dropped += 1
            return False
        channel = self._channels[AUDIO]
        assert isinstance(channel.transport, SpeechSctpTransport)
        channel.transport.send_at_once(channel, message)
        return True

    async def close(self) -> None:
        """End the connection and everything it runs; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._return_track.stop()
        await self._connection.close()

    def _choose_opus(self) -> None:
        """Answer audio with Opus alone, and ask for its forward error correction, which the receive path uses."""
        for transceiver in self._connection.getTransceivers():
            if transceiver.kind != "audio":
                continue
            transceiver._codecs = [codec for codec in transceiver._codecs if codec.mimeType.lower() == "audio/opus"]
            if not transceiver._codecs:
                raise OfferRejected("unsupported_codec", "audio is Opus here: the offer has an audio m-line without it")
            for codec in transceiver._codecs:
                codec.parameters.update(minptime=10, useinbandfec=1)

    def _offer_return_track(self) -> None:
        for transceiver in self._connection.getTransceivers():
            wanted = transceiver._offerDirection  # aiortc has turned the client's direction into ours
            if transceiver.kind == "audio" and wanted in ("sendrecv", "sendonly"):
                transceiver.sender.replaceTrack(self._return_track)
                transceiver.direction = wanted
                self.has_return_track = True
                return

    def _on_track(self, track: MediaStreamTrack) -> None:
        for transceiver in self._connection.getTransceivers():
            receiver: Any = transceiver.receiver
            if receiver.track is not track:
                continue
            if track.kind == "audio":
                receiver._RTCRtpReceiver__jitter_buffer = AudioTap(self._owner.on_audio)
            elif self.video is None:
                self.video = KeyFrameTap(receiver)

    def _on_channel(self, channel: RTCDataChannel) -> None:
        label = channel.label
        if label not in LABELS or label in self._channels:
            log.info("channel_refused", known=label in LABELS)
            channel.close()
            self._owner.on_unknown_channel(label)
            return
        self._channels[label] = channel
        handler = {EVENTS: self._owner.on_event, CAMERA: self._owner.on_picture}.get(label)
        if handler is not None:
            channel.on("message", self._shielded(handler))
        self._owner.on_channel(label)

    def _shielded(self, handler: Callable[[str | bytes], None]) -> Callable[[str | bytes], None]:
        """An error of ours must not escape into aiortc's receive loop: it would end the connection unexplained."""

        def handle(data: str | bytes) -> None:
            try:
                handler(data)
            except Exception:
                log.exception("message_failed")
                self._owner.on_lost("internal_error")

        return handle

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._owner.on_connected()
        elif state in ("failed", "closed") and not self._closed:
            self._owner.on_lost(f"connection_{state}")
