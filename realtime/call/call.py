"""One call: the shell around `CallCore`. Owns its peer connection, its model session and its timer, and frees them all.

Everything runs in one event loop, and one timer serves every deadline of the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from aiortc import RTCIceServer
from aiortc.rtp import RtpPacket

from model_server import protocol
from realtime.call import inputs
from realtime.call.core import CallCore
from realtime.call.inputs import Input
from realtime.call.outside import CallFacts
from realtime.call.timer import Timer
from realtime.connection.channels import AUDIO
from realtime.connection.peer import Peer
from realtime.floor.rules import FloorState
from realtime.floor.turn_end_model import TurnEndJudge, TurnEndModel
from realtime.media.decoder import Samples
from realtime.media.speech import SpeechDetector
from realtime.media.stills import StillError
from realtime.output.return_track import ReturnTrack
from realtime.replay.recording import Recording
from realtime.service.metrics import Metrics
from realtime.session.model_session import ModelSession, SessionState

log = structlog.get_logger(__name__)

FREE_TIMEOUT_S = 5.0
"""A connection that cannot even be closed must not keep its place."""


@dataclass(frozen=True, slots=True)
class CallParts:
    """What a call is made of and gives back. `recording` is None unless the operator asked for it."""

    session: ModelSession
    ice_servers: Sequence[RTCIceServer]
    detector: SpeechDetector
    give_back: Callable[[SpeechDetector], None]
    recording: Recording | None = None
    turn_end_model: TurnEndModel | None = None


class Call:
    """One call, from its open session to the last thing freed. `ended` is set when nothing of it is left."""

    def __init__(self, facts: CallFacts, parts: CallParts, metrics: Metrics, clock: Callable[[], float]) -> None:
        self.call_id = facts.call_id
        self.ended = asyncio.Event()
        self.end_reason = ""
        self.voices: dict[str, bytes] = {}
        """Clips that the person brought, by name."""
        self._parts = parts
        self._session = parts.session
        self._recording = parts.recording
        self._metrics = metrics
        self._clock = clock
        self._return_track = ReturnTrack()
        self._peer = Peer(self, parts.ice_servers, self._return_track)
        model = parts.turn_end_model
        self._judge = TurnEndJudge(model, self._end_judged) if model is not None else None
        outside = CallOutside(self, self._peer, self._return_track, parts.session)
        recorded = self._recording.around(outside) if self._recording is not None else outside
        self._core = CallCore(facts, recorded, parts.detector, metrics)
        self._voices_told = 0
        self._pictures_dropped = 0
        self._still_task: asyncio.Task[None] | None = None
        self._timer = Timer(lambda: self._core.latest, self._on_time, clock)
        self._ending: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------------------------------------- life

    async def answer(self, offer_sdp: str) -> str:
        """Create the peer connection; returns the SDP answer. Raises `OfferRejected`."""
        answer = await self._peer.answer(offer_sdp)
        self._arm()
        return answer

    async def hang_up(self, reason: str) -> None:
        """End the call and free everything; safe to call again and at any time."""
        self.end(reason)
        await self.ended.wait()

    def end(self, reason: str) -> None:
        """Begin to end the call; the first reason counts."""
        if self._ending is None:
            self.end_reason = reason
            self._ending = asyncio.create_task(self._free(), name=f"end of {self.call_id}")

    async def _free(self) -> None:
        self._timer.cancel()
        if self._still_task is not None:
            self._still_task.cancel()
        if self._judge is not None:
            self._judge.close()
        try:
            async with asyncio.timeout(FREE_TIMEOUT_S):
                await asyncio.gather(self._session.close(), self._peer.close(), self._close_recording())
        except TimeoutError:
            log.error("call_not_freed_in_time", call_id=self.call_id, seconds=FREE_TIMEOUT_S)
        finally:
            self._count_packets()
            self._parts.give_back(self._parts.detector)
            self.ended.set()

    async def _close_recording(self) -> None:
        if self._parts.recording is not None:
            await self._parts.recording.close(self._clock())

    def _count_packets(self) -> None:
        stats = self._core.receiver.stats
        self._metrics.packets_received.inc(stats.received)
        self._metrics.packets_lost.inc(stats.lost)
        self._metrics.packets_late.inc(stats.late)
        self._metrics.concealed_ms.inc(stats.concealed_ms)

    # ---------------------------------------------------------------------------------------------- into the core

    def _take(self, what: Input) -> None:
        """Let the core take one input now; what is over takes nothing."""
        if self._ending is not None:
            return
        self._feed(what)
        self._look_around()
        self._arm()

    def _feed(self, what: Input) -> None:
        now = self._clock()
        if self._recording is None:
            self._core.handle(what, now)
        else:
            self._recording.feed(self._core, what, now)

    def _look_around(self) -> None:
        """What nobody tells a call becomes an input, too."""
        dropped = self._session.stats.pictures_dropped
        if dropped != self._pictures_dropped:
            self._pictures_dropped = dropped
            self._feed(inputs.PicturesDropped(dropped))
        if self._recording is not None and self._recording.stopped:
            log.warning("recording_stopped", call_id=self.call_id, reason=self._recording.stopped)
            self._recording = None
            self._feed(inputs.RecordingStopped())

    def _arm(self) -> None:
        """Let the timer fire at the call's next deadline."""
        if self._ending is None:
            self._timer.arm()

    def _on_time(self) -> None:
        self._take(inputs.Tick())

    # ---------------------------------------------------------------------------------------------- from the peer

    def on_audio(self, packet: RtpPacket) -> None:
        """One RTP packet of the microphone."""
        self._take(inputs.Packet(packet.ssrc, packet.sequence_number, packet.timestamp, packet.payload))
        if self._clock() >= self._core.speech_deadline:
            self._take(inputs.Tick())

    def on_event(self, data: str | bytes) -> None:
        """One message of the channel `oai-events`."""
        for name in list(self.voices)[self._voices_told :]:
            self._voices_told += 1
            self._take(inputs.VoiceBrought(name, self.voices[name]))
        self._take(inputs.client_event(data))

    def on_picture(self, data: str | bytes) -> None:
        """One message of the channel `camera`."""
        self._take(inputs.picture_message(data))

    def on_channel(self, label: str) -> None:
        """The client opened a known channel."""
        self._take(inputs.ChannelOpened(label))

    def on_unknown_channel(self, label: str) -> None:
        """The client opened a channel this service does not have; it is closed already."""
        self._take(inputs.ChannelRefused(label))

    def on_connected(self) -> None:
        """Media can flow."""
        self._take(inputs.Connected(self._peer.video is not None))

    def on_lost(self, reason: str) -> None:
        """The peer is gone for good."""
        self.end(reason)

    # ---------------------------------------------------------------------------------------------- pictures of a track

    def fetch_still(self) -> None:
        """Take the newest picture of the video track, decoded beside the loop."""
        if self._still_task is None or self._still_task.done():
            self._still_task = asyncio.create_task(self._fetch_still(), name=f"still of {self.call_id}")

    async def _fetch_still(self) -> None:
        assert self._peer.video is not None
        try:
            jpeg = await asyncio.to_thread(self._peer.video.newest_jpeg)
        except StillError as error:
            self._metrics.pictures_dropped.labels("invalid").inc()
            log.info("still_refused", call_id=self.call_id, error=str(error))
            return
        if jpeg is not None:
            self._take(inputs.Still(jpeg))

    # ---------------------------------------------------------------------------------------------- a learned opinion

    def judge_end(self, position: int, heard: Sequence[Samples], silence_ms: float) -> None:
        """Ask the model, where there is one."""
        if self._judge is not None:
            self._judge.ask(position, heard, silence_ms)

    def _end_judged(self, position: int, odds: float) -> None:
        self._take(inputs.EndJudged(position, odds))

    # ---------------------------------------------------------------------------------------------- from the session

    def on_reply(self, reply: protocol.Reply) -> None:
        """The model server answered."""
        self._take(inputs.Replied(reply))

    def on_busy(self, seq: int, item: protocol.Item | protocol.Append) -> None:
        """The engine was replying and did not take item `seq`."""
        self._take(inputs.HandedBack(seq, item))

    def on_state(self, state: SessionState, reason: str) -> None:
        """The model session was lost, found again, or given up."""
        self._take(inputs.SessionChanged(state.value, self._session.limits))


class CallOutside:
    """`realtime.call.outside.Outside` over a peer connection and a model session."""

    def __init__(self, call: Call, peer: Peer, return_track: ReturnTrack, session: ModelSession) -> None:
        self.session = session
        self.send_event = peer.send_event
        self.push = return_track.push
        self.flush = return_track.flush
        self.fetch_still = call.fetch_still
        self.judge_end = call.judge_end
        self.end = call.end
        self._peer = peer

    def send_audio(self, message: bytes) -> None:
        """Now or never."""
        self._peer.send_audio(message)

    def audio_open(self) -> bool:
        """Whether speech goes over the channel `audio`."""
        return self._peer.is_open(AUDIO)

    def decided(self, old: FloorState, new: FloorState, reason: str) -> None:
        """The floor's decisions are in its own log."""
