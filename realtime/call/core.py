"""One call without its sockets, tasks and clock: what it hears, its dialogue, what it tells the client. Sans-I/O.

`CallCore.handle(input, now)` takes whatever enters the call; everything that leaves goes through `Outside`. It draws no
random number and reads no clock: the same inputs at the same times give the same bytes, which is what replay rests on.
"""

from __future__ import annotations

from math import inf

import structlog

from model_server import protocol
from model_server.protocol import SessionConfig
from realtime import events
from realtime.call import inputs
from realtime.call.client_events import ClientEvents
from realtime.call.inputs import Input
from realtime.call.outside import CallFacts, Ids, Outside, StallGuard
from realtime.call.session_settings import session_config, voice_facts
from realtime.call.troubles import Troubles
from realtime.call.turn_detection import TurnFinding, turn_finding
from realtime.connection.channels import CAMERA, EVENTS, LABELS
from realtime.connection.frames import AudioMessage, FrameError, PictureKind, decode_picture_slice, encode_audio
from realtime.connection.liveness import Liveness
from realtime.dialogue.dialogue import Dialogue
from realtime.events import EventError, ServerEvent
from realtime.floor.interruption import Sign, Sounding
from realtime.floor.rules import FloorState
from realtime.media.bands import Bands
from realtime.media.hearing import Edge, Hearing, HearingEvent, InputSilence, Samples, Stirred, Surroundings, UnitClosed
from realtime.media.line_check import LineCheck
from realtime.media.opus import create_decoder
from realtime.media.pictures import Picture, PictureAssembler, PictureError
from realtime.media.receive import AudioPacket, AudioReceiver
from realtime.media.speech import SpeechDetector
from realtime.media.units import CutUnit
from realtime.output.playout import Playout
from realtime.output.speaking import Speaking
from realtime.service.metrics import Metrics
from realtime.session.model_session import SessionState

log = structlog.get_logger(__name__)

GREETING_WAIT_S = 0.3
"""After `oai-events` opens, the other channels get so long to open before the greeting chooses one."""

STILL_PHASE_S = 0.6
"""How far into each unit a picture is asked of a video track: it arrives in time for the unit, and fresh."""

SILENT_INPUT_MS = 3_000


class CallCore:
    """One call's brain. Call `handle` for what happens, and with `Tick` at `deadline`. A `detector` is one call's."""

    def __init__(self, facts: CallFacts, outside: Outside, detector: SpeechDetector, metrics: Metrics) -> None:
        now = facts.started
        self.receiver = AudioReceiver(create_decoder(), now)
        self._facts = facts
        self._outside = outside
        self._metrics = metrics
        self._now = now
        self._ids = Ids(facts.seed)
        self._config = SessionConfig()
        self._limits = facts.limits
        self._extensions: frozenset[str] = frozenset()
        self._voices: dict[str, bytes] = {}
        self._turns = TurnFinding(facts.rules)
        self._hearing = Hearing(self.receiver, detector, now, self._played)
        self._speaking = Speaking(self._emit, self._transmit, outside.flush, self._new_playout)
        self._troubles = Troubles(facts.call_id, self._emit, outside.end, metrics)
        self._dialogue = self._new_dialogue()
        self._client_events = ClientEvents(self._dialogue, self, self._ids.new)
        self._pictures = PictureAssembler()
        self._liveness = Liveness(now)
        self._line_check: LineCheck | None = None
        self._video = False
        self._recording = facts.recording
        self._greet_at: float | None = None
        self._still_at: float | None = None

    def _new_dialogue(self) -> Dialogue:
        return Dialogue(
            self._facts.capabilities,
            StallGuard(self._outside.session, self._troubles.stalled),
            self._speaking,
            self._emit,
            self._hearing.cutter,
            self._ids.new,
            self._facts.rules,
            self._metrics,
            self._outside.decided,
        )

    @property
    def deadline(self) -> float:
        """When `Tick` is due."""
        return self._earliest(self._dialogue.deadline)

    @property
    def speech_deadline(self) -> float:
        """When `Tick` is due for the assistant's speech, infinity while there is none."""
        due = self._speaking.deadline
        return inf if due is None else due

    @property
    def latest(self) -> float:
        """When `Tick` is due at the latest, if it comes with the first packet after `speech_deadline`."""
        return self._earliest(self._dialogue.latest)

    def _earliest(self, dialogue: float | None) -> float:
        due = self._hearing.deadline
        for at in (dialogue, self._liveness.deadline, self._greet_at, self._still_at):
            if at is not None and at < due:
                due = at
        return due

    def handle(self, what: Input, now: float) -> None:
        """Take one input; what follows of it has gone to `Outside` when this returns."""
        self._now = now
        match what:
            case inputs.Packet():
                self._liveness.sign(now)
                packet = AudioPacket(what.ssrc, what.sequence, what.timestamp, what.payload)
                self._hear(self._hearing.packet(packet, now), now)
            case inputs.Tick():
                self._tick(now)
            case inputs.ClientEvent():
                self._client_event(what.data, now)
            case inputs.PictureMessage():
                self._picture_message(what.data, now)
            case inputs.Replied(reply):
                self._dialogue.reply(reply, now)
            case inputs.HandedBack(_, item):
                if not isinstance(item, protocol.Append):
                    self._dialogue.returned(item)
            case inputs.Still(jpeg):
                self._metrics.pictures.inc()
                self._hearing.still(jpeg)
            case inputs.EndJudged(position, odds):
                self._dialogue.end_judged(position, odds, now)
            case inputs.SessionChanged(state, limits):
                self._limits = limits
                self._troubles.session_changed(SessionState(state))
            case inputs.PicturesDropped(total):
                self._troubles.pictures_dropped(total)
            case _:
                self._connection_changed(what, now)

    def _connection_changed(self, what: Input, now: float) -> None:
        match what:
            case inputs.Connected(video):
                self._video = video
                self._liveness.connected(now)
                self._still_at = now if video else None
            case inputs.ChannelOpened(label):
                self._channel_opened(label, now)
            case inputs.ChannelRefused(label):
                known = ", ".join(LABELS)
                self._refuse(EventError("unknown_channel", f"there is no channel {label[:40]!r}: use {known}"))
            case inputs.VoiceBrought(name, clip):
                self._voices[name] = clip
            case inputs.RecordingStopped():
                self._recording = False
                self._emit(events.SessionUpdated(session=self._session_facts()))
            case _:
                pass

    # ---------------------------------------------------------------------------------------------- from the client

    def _client_event(self, data: str | bytes, now: float) -> None:
        self._liveness.sign(now)
        try:
            self._client_events.handle(data, now)
        except EventError as error:
            self._refuse(error)

    def _picture_message(self, data: str | bytes, now: float) -> None:
        self._liveness.sign(now)
        try:
            if isinstance(data, str):
                raise FrameError("expected a binary message on the channel camera, got text")
            picture = self._pictures.add(decode_picture_slice(data))
        except (FrameError, PictureError) as error:
            self._metrics.pictures_dropped.labels("invalid").inc()
            self._refuse(EventError("invalid_picture", str(error), param=CAMERA))
            return
        if picture is not None:
            self._take_picture(picture, now)

    def _take_picture(self, picture: Picture, now: float) -> None:
        self._metrics.pictures.inc()
        if picture.kind == PictureKind.STILL:
            self._hearing.still(picture.jpeg)
            return
        told = events.Item(id=self._ids.new("item"), content=[events.ContentPart(type="input_image")])
        if not self._dialogue.write([protocol.PictureItem(jpeg=picture.jpeg)], told, now):
            self._refuse(EventError("too_many_items", "too many pictures wait for the reply to end", param=CAMERA))

    def _channel_opened(self, label: str, now: float) -> None:
        if label != EVENTS:
            return
        self._emit(events.SessionCreated(session=self._session_facts()))
        if self._facts.greet and self._facts.capabilities.greeting:
            self._greet_at = now + GREETING_WAIT_S

    # ---------------------------------------------------------------------------------------------- time

    def _tick(self, now: float) -> None:
        self._hear(self._hearing.tick(now), now)
        self._dialogue.tick(now)
        nonce = self._liveness.ping(now)
        if nonce is not None:
            self._emit(events.Ping(nonce=nonce))
        if (reason := self._liveness.lost(now)) is not None:
            self._outside.end(reason)
        if self._greet_at is not None and now >= self._greet_at:
            self._greet_at = None
            self._dialogue.ask(now, say=self._facts.capabilities.greeting)
        if self._still_at is not None and now >= self._still_at:
            self._still_at = None
            self._outside.fetch_still()

    # ---------------------------------------------------------------------------------------------- what is heard

    def _hear(self, heard: list[HearingEvent], now: float) -> None:
        for event in heard:
            match event:
                case Samples(pcm):
                    self._dialogue.frame(pcm, now)
                    if self._line_check is not None:
                        for message in self._line_check.feed(pcm):
                            self._outside.send_audio(encode_audio(message))
                case Edge():
                    if self._line_check is None:
                        self._edge(event, now)
                case Sounding():
                    self._dialogue.sounding(event, now)
                case Sign():
                    self._dialogue.sign(event, now)
                case Stirred():
                    self._dialogue.stirred(now)
                case Surroundings():
                    self._dialogue.surroundings(event, now)
                case UnitClosed(unit, late_ms):
                    self._metrics.unit_lateness_seconds.observe(late_ms / 1000)
                    self._unit_closed(unit, now)
                case InputSilence(silent):
                    self._emit(events.InputSilent(ms=SILENT_INPUT_MS if silent else 0, recovered=not silent))

    def _edge(self, edge: Edge, now: float) -> None:
        self._dialogue.edge(edge, now)
        if not edge.started and self._dialogue.state == FloorState.PERSON:
            self._outside.judge_end(edge.position, self._hearing.heard, 1000 * (now - edge.at))

    def _unit_closed(self, unit: CutUnit, now: float) -> None:
        self._dialogue.unit(unit, now)
        if self._video:
            self._still_at = now + STILL_PHASE_S

    # ---------------------------------------------------------------------------------------------- what is asked

    def apply_settings(self, settings: events.SessionSettings) -> None:
        """`session.update`: all of it or nothing, answered by `session.updated`."""
        config = session_config(settings, self._config, self._facts.capabilities, self._voices)
        turns = turn_finding(settings.turns, self._facts.rules, self._turns)
        if config != self._config:
            self._dialogue.context_changes(self._now)
            self._outside.session.update(config)
            self._config = config
            self._dialogue.spoken = config.speech
        if turns != self._turns:
            self._turns = turns
            self._hearing.listen_for(turns.threshold, turns.padding_ms)
            self._dialogue.set_rules(turns.rules, self._now)
        if settings.extensions is not None:
            self._extensions = events.EXTENSIONS.intersection(settings.extensions)
            if "ping" in self._extensions:
                self._liveness.expect_pongs(self._now)
        if settings.loopback is not None:
            self._line_check = LineCheck() if settings.loopback else None
        self._emit(events.SessionUpdated(session=self._session_facts()))

    def pong(self, nonce: int) -> None:
        """The client's answer to a ping."""
        self._liveness.pong(nonce, self._now)
        self._speaking.playout.set_rtt(self._liveness.rtt_ms, self._liveness.jitter_ms)

    def media_state(self, state: events.MediaState) -> None:
        """What the browser granted."""
        facts = {name: getattr(state, name) for name in _MEDIA_FACTS}
        log.info("media_state", call_id=self._facts.call_id, **facts)

    # ---------------------------------------------------------------------------------------------- to the client

    def _played(self, now: float) -> Bands | None:
        return self._speaking.played(now)

    def _emit(self, event: ServerEvent) -> None:
        name = str(event.__struct_config__.tag)
        if name not in events.EXTENSIONS or name in self._extensions:
            event.event_id = event.event_id or self._ids.new("event")
            self._outside.send_event(events.encode_event(event))

    def _refuse(self, error: EventError) -> None:
        self._metrics.event_errors.labels(error.code).inc()
        self._emit(error.event())

    def _transmit(self, message: AudioMessage) -> None:
        if self._speaking.playout.reported:
            self._outside.send_audio(encode_audio(message))
        else:
            self._outside.push(message)

    def _new_playout(self) -> Playout:
        return Playout(mode="acks" if self._outside.audio_open() else "track")

    def _session_facts(self) -> dict[str, object]:
        return {
            "id": self._facts.call_id,
            "object": "realtime.session",
            "type": "realtime",
            "model": self._facts.capabilities.model,
            "instructions": self._config.instructions,
            "language": self._config.language,
            "output_modalities": ["audio"] if self._config.speech else ["text"],
            **voice_facts(self._config, self._voices),
            "capabilities": self._facts.capabilities,
            "limits": self._limits,
            "extensions": sorted(self._extensions),
            "turn_detection": self._turns.facts(),
            "loopback": self._line_check is not None,
            "recording": self._recording,
        }


_MEDIA_FACTS = ("microphone", "camera", "echo_cancellation", "noise_suppression", "auto_gain_control")
