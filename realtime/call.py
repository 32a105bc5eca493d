"""One call: a peer connection, what it hears, its dialogue and its model session. Owns them all and frees them all.

Everything runs in one event loop, and one timer serves every deadline of the call.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from aiortc import RTCIceServer
from aiortc.rtp import RtpPacket

from model_server import protocol
from model_server.protocol import SessionConfig
from realtime import events
from realtime.client_events import ClientEvents, session_config
from realtime.dialogue import Dialogue
from realtime.events import EventError, ServerEvent
from realtime.floor import FloorRules
from realtime.frames import AudioMessage, FrameError, PictureKind, decode_picture_slice, encode_audio
from realtime.interruption import Sounding
from realtime.liveness import Liveness
from realtime.media.hearing import Edge, Hearing, HearingEvent, InputSilence, Samples, Stirred, UnitClosed
from realtime.media.line_check import LineCheck
from realtime.media.opus import create_decoder
from realtime.media.pictures import Picture, PictureAssembler, PictureError
from realtime.media.receive import AudioPacket, AudioReceiver
from realtime.media.speech import SpeechDetector
from realtime.media.stills import StillError
from realtime.media.units import CutUnit
from realtime.peer import AUDIO, CAMERA, EVENTS, Peer
from realtime.playout import Playout
from realtime.return_track import ReturnTrack
from realtime.service.metrics import Metrics
from realtime.session.model_session import ModelSession, SessionState
from realtime.session.reports import SessionError
from realtime.speaking import Speaking

log = structlog.get_logger(__name__)

GREETING_WAIT_S = 0.3
"""After `oai-events` opens, the other channels get so long to open before the greeting chooses one."""

STILL_PHASE_S = 0.6
"""How far into each unit a picture is asked of a video track: it arrives in time for the unit, and fresh."""

SILENT_INPUT_MS = 3_000

FREE_TIMEOUT_S = 5.0
"""A connection that cannot even be closed must not keep its place."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What every call of this gateway has in common."""

    ice_servers: Sequence[RTCIceServer]
    rules: FloorRules
    greet: bool = True


class StallGuard:
    """The session as the dialogue sees it; a request that the session cannot take any more is told to `on_stalled`."""

    def __init__(self, session: ModelSession, on_stalled: Callable[[SessionError], None]) -> None:
        self._session = session
        self._on_stalled = on_stalled

    def prefill(self, item: protocol.Item) -> int:
        try:
            return self._session.prefill(item)
        except SessionError as error:
            self._on_stalled(error)
            return self._session.last_seq

    def generate(self, response_id: str, options: protocol.GenerateOptions) -> None:
        try:
            self._session.generate(response_id, options)
        except SessionError as error:
            self._on_stalled(error)

    def played(self, response_id: str, ms: int) -> None:
        self._session.played(response_id, ms)

    def cancel(self, response_id: str, keep_ms: int = 0) -> None:
        self._session.cancel(response_id, keep_ms)


class Call:
    """One call, from its open session to the last thing freed. `ended` is set when nothing of it is left.

    `give_back` takes the detector when the call is over.
    """

    def __init__(
        self,
        call_id: str,
        session: ModelSession,
        options: CallOptions,
        detector: SpeechDetector,
        give_back: Callable[[SpeechDetector], None],
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        now = clock()
        self.call_id = call_id
        self.ended = asyncio.Event()
        self.end_reason = ""
        self._session = session
        self._options = options
        self._metrics = metrics
        self._clock = clock
        self._capabilities = session.capabilities
        self._config = SessionConfig()
        self._extensions: frozenset[str] = frozenset()
        self._return_track = ReturnTrack()
        self._peer = Peer(self, options.ice_servers, self._return_track)
        self._detector = detector
        self._give_back = give_back
        self._hearing = Hearing(AudioReceiver(create_decoder(), now), detector, now, self._played_power)
        self._speaking = Speaking(self._emit, self._transmit, self._return_track.flush, self._new_playout)
        self._dialogue = Dialogue(
            self._capabilities,
            StallGuard(session, self._stalled),
            self._speaking,
            self._emit,
            self._hearing.cut_turn,
            _new_id,
            options.rules,
            metrics,
        )
        self._client_events = ClientEvents(self._dialogue, self, _new_id)
        self._pictures = PictureAssembler()
        self._liveness = Liveness(now)
        self._line_check: LineCheck | None = None
        self._greet_at: float | None = None
        self._still_at: float | None = None
        self._still_task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._ending: asyncio.Task[None] | None = None
        self._pictures_dropped = 0

    # ---------------------------------------------------------------------------------------------- life

    async def answer(self, offer_sdp: str) -> str:
        """Create the peer connection; returns the SDP answer. Raises `OfferRejected`."""
        answer = await self._peer.answer(offer_sdp)
        self._arm()
        return answer

    async def hang_up(self, reason: str) -> None:
        """End the call and free everything; safe to call again and at any time."""
        self._end(reason)
        await self.ended.wait()

    def _end(self, reason: str) -> None:
        if self._ending is None:
            self.end_reason = reason
            self._ending = asyncio.create_task(self._free(), name=f"end of {self.call_id}")

    async def _free(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._still_task is not None:
            self._still_task.cancel()
        try:
            async with asyncio.timeout(FREE_TIMEOUT_S):
                await asyncio.gather(self._session.close(), self._peer.close())
        except TimeoutError:
            log.error("call_not_freed_in_time", call_id=self.call_id, seconds=FREE_TIMEOUT_S)
        finally:
            self._count_packets()
            self._give_back(self._detector)
            self.ended.set()

    def _count_packets(self) -> None:
        stats = self._hearing.receiver.stats
        self._metrics.packets_received.inc(stats.received)
        self._metrics.packets_lost.inc(stats.lost)
        self._metrics.packets_late.inc(stats.late)
        self._metrics.concealed_ms.inc(stats.concealed_ms)

    # ---------------------------------------------------------------------------------------------- time

    def _arm(self) -> None:
        """Let the timer fire at the call's next deadline."""
        if self._ending is not None:
            return
        now = self._clock()
        deadlines = (
            self._hearing.deadline,
            self._dialogue.deadline,
            self._liveness.deadline,
            self._greet_at,
            self._still_at,
        )
        due = min(at for at in deadlines if at is not None)
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = self._clock()
        self._hear(self._hearing.tick(now), now)
        self._dialogue.tick(now)
        nonce = self._liveness.ping(now)
        if nonce is not None:
            self._emit(events.Ping(nonce=nonce))
        if (reason := self._liveness.lost(now)) is not None:
            self._end(reason)
        self._greet_if_due(now)
        self._ask_still_if_due(now)
        self._arm()

    # ---------------------------------------------------------------------------------------------- from the peer

    def on_audio(self, packet: RtpPacket) -> None:
        """One RTP packet of the microphone."""
        now = self._clock()
        self._liveness.sign(now)
        parts = AudioPacket(packet.ssrc, packet.sequence_number, packet.timestamp, packet.payload)
        self._hear(self._hearing.packet(parts, now), now)
        self._arm()

    def on_event(self, data: str | bytes) -> None:
        """One message of the channel `oai-events`."""
        now = self._clock()
        self._liveness.sign(now)
        try:
            self._client_events.handle(data, now)
        except EventError as error:
            self._refuse(error)
        self._arm()

    def on_picture(self, data: str | bytes) -> None:
        """One message of the channel `camera`."""
        self._liveness.sign(self._clock())
        try:
            if isinstance(data, str):
                raise FrameError("expected a binary message on the channel camera, got text")
            picture = self._pictures.add(decode_picture_slice(data))
        except (FrameError, PictureError) as error:
            self._metrics.pictures_dropped.labels("invalid").inc()
            self._refuse(EventError("invalid_picture", str(error), param=CAMERA))
            return
        if picture is not None:
            self._take_picture(picture)

    def on_channel(self, label: str) -> None:
        """The client opened a known channel."""
        if label == EVENTS:
            self._emit(events.SessionCreated(session=self._session_facts()))
            if self._options.greet and self._capabilities.greeting:
                self._greet_at = self._clock() + GREETING_WAIT_S
                self._arm()

    def on_unknown_channel(self, label: str) -> None:
        """The client opened a channel this service does not have; it is closed already."""
        self._refuse(
            EventError("unknown_channel", f"there is no channel {label[:40]!r}: use oai-events, audio, camera")
        )

    def on_connected(self) -> None:
        """Media can flow."""
        self._liveness.connected(self._clock())
        if self._peer.video is not None:
            self._still_at = self._clock()
        self._arm()

    def on_lost(self, reason: str) -> None:
        """The peer is gone for good."""
        self._end(reason)

    # ---------------------------------------------------------------------------------------------- what is heard

    def _hear(self, heard: list[HearingEvent], now: float) -> None:
        for event in heard:
            match event:
                case Samples(pcm):
                    if self._line_check is not None:
                        for message in self._line_check.feed(pcm):
                            self._peer.send_audio(encode_audio(message))
                case Edge():
                    if self._line_check is None:
                        self._dialogue.edge(event, now)
                case Sounding():
                    self._dialogue.sounding(event, now)
                case Stirred():
                    self._dialogue.stirred(now)
                case UnitClosed(unit, late_ms):
                    self._metrics.unit_lateness_seconds.observe(late_ms / 1000)
                    self._unit_closed(unit, now)
                case InputSilence(silent):
                    self._emit(events.InputSilent(ms=SILENT_INPUT_MS if silent else 0, recovered=not silent))

    def _unit_closed(self, unit: CutUnit, now: float) -> None:
        self._dialogue.unit(unit, now)
        if self._peer.video is not None:
            self._still_at = now + STILL_PHASE_S
        dropped = self._session.stats.pictures_dropped - self._pictures_dropped
        if dropped:
            self._pictures_dropped += dropped
            self._metrics.pictures_dropped.labels("engine_slow").inc(dropped)
            self._emit(events.SessionDegraded(reason="engine_slow", message="The assistant sees less for a moment."))

    def _take_picture(self, picture: Picture) -> None:
        self._metrics.pictures.inc()
        if picture.kind == PictureKind.STILL:
            self._hearing.still(picture.jpeg)
            return
        told = events.Item(id=_new_id("item"), content=[events.ContentPart(type="input_image")])
        if not self._dialogue.write([protocol.PictureItem(jpeg=picture.jpeg)], told):
            self._refuse(EventError("too_many_items", "too many pictures wait for the reply to end", param=CAMERA))

    def _ask_still_if_due(self, now: float) -> None:
        video = self._peer.video
        if self._still_at is None or now < self._still_at or video is None:
            return
        self._still_at = None
        if self._still_task is None or self._still_task.done():
            self._still_task = asyncio.create_task(self._fetch_still(), name=f"still of {self.call_id}")

    async def _fetch_still(self) -> None:
        """The newest key frame of the video track, decoded beside the loop."""
        assert self._peer.video is not None
        try:
            jpeg = await asyncio.to_thread(self._peer.video.newest_jpeg)
        except StillError as error:
            self._metrics.pictures_dropped.labels("invalid").inc()
            log.info("still_refused", call_id=self.call_id, error=str(error))
            return
        if jpeg is not None:
            self._metrics.pictures.inc()
            self._hearing.still(jpeg)

    # ---------------------------------------------------------------------------------------------- what is asked

    def apply_settings(self, settings: events.SessionSettings) -> None:
        """`session.update`: all of it or nothing, answered by `session.updated`."""
        config = session_config(settings, self._config, self._capabilities.languages)
        if config != self._config:
            self._session.update(config)
            self._config = config
            self._dialogue.spoken = config.speech
        if settings.extensions is not None:
            self._extensions = events.EXTENSIONS.intersection(settings.extensions)
            if "ping" in self._extensions:
                self._liveness.expect_pongs(self._clock())
        if settings.loopback is not None:
            self._line_check = LineCheck() if settings.loopback else None
        self._emit(events.SessionUpdated(session=self._session_facts()))

    def pong(self, nonce: int) -> None:
        """The client's answer to a ping."""
        self._liveness.pong(nonce, self._clock())
        self._speaking.playout.set_rtt(self._liveness.rtt_ms, self._liveness.jitter_ms)

    def media_state(self, state: events.MediaState) -> None:
        """What the browser granted."""
        log.info("media_state", call_id=self.call_id, **{name: getattr(state, name) for name in _MEDIA_FACTS})

    def _greet_if_due(self, now: float) -> None:
        if self._greet_at is not None and now >= self._greet_at:
            self._greet_at = None
            self._dialogue.ask(now, say=self._capabilities.greeting)

    # ---------------------------------------------------------------------------------------------- from the session

    def on_reply(self, reply: protocol.Reply) -> None:
        """The model server answered."""
        self._dialogue.reply(reply, self._clock())
        self._arm()

    def on_busy(self, seq: int, item: protocol.Item | protocol.Append) -> None:
        """The engine was replying and did not take item `seq`."""
        if not isinstance(item, protocol.Append):
            self._dialogue.returned(item)

    def on_state(self, state: SessionState, reason: str) -> None:
        """The model session was lost, found again, or given up."""
        if state == SessionState.RECOVERING:
            self._metrics.session_recoveries.labels("sought").inc()
            self._emit(
                events.SessionDegraded(reason="model_server_lost", message="The assistant is being reconnected.")
            )
        elif state == SessionState.CONNECTED:
            self._metrics.session_recoveries.labels("found").inc()
        elif state == SessionState.LOST:
            self._metrics.session_recoveries.labels("given_up").inc()
            self._emit(events.SessionDegraded(reason="engine_failed", message="The assistant could not be reached."))
            self._end("session_lost")
        self._arm()

    def _stalled(self, error: SessionError) -> None:
        """Pictures were dropped long ago and audio never is: a call whose engine stands still has ended."""
        log.error("engine_stalled", call_id=self.call_id, error=str(error))
        self._emit(events.SessionDegraded(reason="engine_failed", message="The assistant does not answer any more."))
        self._end("engine_stalled")

    # ---------------------------------------------------------------------------------------------- to the client

    def _played_power(self, now: float) -> float:
        return self._speaking.played_power(now)

    def _emit(self, event: ServerEvent) -> None:
        name = str(event.__struct_config__.tag)
        if name not in events.EXTENSIONS or name in self._extensions:
            self._peer.send_event(events.encode_event(event))

    def _refuse(self, error: EventError) -> None:
        self._metrics.event_errors.labels(error.code).inc()
        self._emit(error.event())

    def _transmit(self, message: AudioMessage) -> None:
        if self._speaking.playout.reported:
            self._peer.send_audio(encode_audio(message))
        else:
            self._return_track.push(message)

    def _new_playout(self) -> Playout:
        return Playout(mode="acks" if self._peer.is_open(AUDIO) else "track")

    def _session_facts(self) -> dict[str, object]:
        return {
            "id": self.call_id,
            "object": "realtime.session.model_session",
            "type": "realtime",
            "model": self._capabilities.model,
            "instructions": self._config.instructions,
            "language": self._config.language,
            "output_modalities": ["audio"] if self._config.speech else ["text"],
            "capabilities": self._capabilities,
            "limits": self._session.limits,
            "extensions": sorted(self._extensions),
            "loopback": self._line_check is not None,
        }


_MEDIA_FACTS = ("microphone", "camera", "echo_cancellation", "noise_suppression", "auto_gain_control")


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"
