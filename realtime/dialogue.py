"""The conversation of one call: what is heard, typed, shown and answered, in the floor's order.

It joins the floor, the units that wait, the output and the model session. No sockets and no clock in here: the call
brings the time, a session port carries requests out, and `emit` carries events out. So a call replays in a test.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from model_server import protocol
from model_server.protocol import Capabilities, GenerateOptions, PictureItem, TextItem, Unit
from realtime import events, floor
from realtime.events import ServerEvent
from realtime.floor import Effect, Floor, FloorEvent, FloorRules, FloorState
from realtime.held import HeldUnits, Waiting
from realtime.interruption import Sounding
from realtime.media.hearing import Edge
from realtime.media.units import CutUnit
from realtime.playout import PlayoutError
from realtime.service.metrics import Metrics
from realtime.speaking import Speaking

log = structlog.get_logger(__name__)

MAX_WAIT_UNITS = 10
"""Seconds of the person's speech that may wait for a reply to end; then the reply yields."""

MAX_TYPED_ITEMS = 16
"""Typed or shown items that may wait for a reply to end."""

REMEMBERED_TURNS = 16
"""Turns that a transcript may still arrive for."""


class SessionPort(Protocol):
    """The model session as the dialogue needs it; nothing here blocks."""

    def prefill(self, item: protocol.Item) -> int: ...
    def generate(self, response_id: str, options: GenerateOptions) -> None: ...
    def played(self, response_id: str, ms: int) -> None: ...
    def cancel(self, response_id: str, keep_ms: int = 0) -> None: ...


@dataclass(slots=True)
class _Turn:
    """The person's latest turn, to which a transcript and timings belong."""

    item_id: str | None = None
    ended_at: float | None = None
    committed_at: float | None = None


class Dialogue:
    """One call's conversation. `cut_turn` closes the short unit; `emit` sends an event to the client."""

    def __init__(
        self,
        capabilities: Capabilities,
        session: SessionPort,
        speaking: Speaking,
        emit: Callable[[ServerEvent], None],
        cut_turn: Callable[[], CutUnit | None],
        new_id: Callable[[str], str],
        rules: FloorRules,
        metrics: Metrics,
    ) -> None:
        self.speaking = speaking
        self.spoken = True
        """Whether the client wants speech at all."""
        self._native = capabilities.turn_taking == "native"
        self._session = session
        self._emit = emit
        self._cut_turn = cut_turn
        self._new_id = new_id
        self._metrics = metrics
        self._held = HeldUnits()
        self._typed_waiting = 0
        self._returned: list[protocol.Item] = []
        self._floor = Floor(rules, new_id, self._log_transition)
        self._floor_events: deque[FloorEvent] = deque()
        self._turn = _Turn()
        self._turn_of: OrderedDict[int, str] = OrderedDict()
        self._last_seq = 0
        self._last_item: str | None = None
        self._instructions = ""
        self._cut_reason = "turn_detected"
        self._keep_ms: dict[str, int] = {}

    @property
    def state(self) -> FloorState:
        """Who has the floor."""
        return self._floor.state

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        return min((at for at in (self._floor.deadline, self.speaking.deadline) if at is not None), default=None)

    # ---------------------------------------------------------------------------------------------- what is heard

    def edge(self, edge: Edge, now: float) -> None:
        """The person's speech started or stopped."""
        if edge.started:
            self._held.voice_from(edge.position)
            self._floor_event(floor.SpeechStarted(edge.position, edge.at, edge.sounding), now)
        else:
            self._turn.ended_at = edge.at
            self._floor_event(floor.SpeechStopped(edge.position, edge.at), now)

    def stirred(self, now: float) -> None:
        """The person may be beginning to speak."""
        if self._floor.state == FloorState.PERSON:
            self._floor_event(floor.Stirred(), now)

    def sounding(self, sounding: Sounding, now: float) -> None:
        """What the voice that goes on sounds like."""
        self._floor_event(floor.Voice(sounding), now)

    def unit(self, unit: CutUnit, now: float) -> None:
        """A unit was closed; a voice that is not the person's makes it none of theirs."""
        self._offer(replace(unit, voiced=False) if self._floor.ignores_voice else unit)
        if self._held.speech_units >= MAX_WAIT_UNITS:
            self._cut_reason = "turn_detected"
            self._floor_event(floor.StopRequested("the person waited too long"), now)

    # ---------------------------------------------------------------------------------------------- what is asked

    def write(self, items: Sequence[TextItem | PictureItem], told: events.Item) -> bool:
        """The person typed or shows something, told as one item; false when too much waits already."""
        if self._held.holding and self._typed_waiting + len(items) > MAX_TYPED_ITEMS:
            return False
        self._typed_waiting += len(items) if self._held.holding else 0
        self._add_item(told)
        for item in items:
            self._offer(item)
        return True

    def ask(self, now: float, *, say: str | None = None, instructions: str = "") -> bool:
        """An answer is wanted now; false while a response is active, which then goes on."""
        if self._floor.state in (FloorState.THINKING, FloorState.SPEAKING, FloorState.HOLDING):
            return False
        self._instructions = instructions
        self._floor_event(floor.ReplyRequested(say), now)
        return True

    def stop(self, now: float, response_id: str | None = None) -> bool:
        """Silence is wanted now; false when nothing (or not this response) is being said, which is no error."""
        if self._floor.response_id is None or response_id not in (None, self._floor.response_id):
            return False
        self._cut_reason = "client_cancelled"
        self._floor_event(floor.StopRequested("client asked"), now)
        return True

    def truncate(self, item_id: str, heard_ms: int, now: float) -> bool:
        """The client heard only `heard_ms` of an item; false when no such item can still be cut."""
        response_id = self.speaking.response_of(item_id)
        if response_id is None:
            return False
        if response_id == self._floor.response_id:
            self.stop(now, response_id)
            self._floor_event(floor.Heard(response_id, heard_ms), now)
        else:
            self._cancel(response_id, heard_ms)
        return True

    def played(self, ack: events.PlaybackAck, now: float) -> None:
        """The page says what left the loudspeaker."""
        taken = self.speaking.playout.ack(ack.response_id, ack.played_ms, ack.final, now)
        if taken and ack.final:
            self._floor_event(floor.Heard(ack.response_id, ack.played_ms), now)
        self.tick(now)

    # ---------------------------------------------------------------------------------------------- what is answered

    def reply(self, reply: protocol.Reply, now: float) -> None:
        """The model server said something."""
        match reply:
            case protocol.Started(response_id=response_id) if self._native:
                if response_id != self._floor.response_id:
                    self._floor_event(floor.ReplyStarted(response_id), now)
            case protocol.Text():
                self.speaking.text(reply)
            case protocol.Speech():
                self._speech(reply, now)
            case protocol.Done():
                self._done(reply, now)
            case protocol.Cancelled():
                self.speaking.truncated(reply.response_id, self._keep_ms.pop(reply.response_id, 0), reply.kept_text)
            case protocol.Transcript():
                self._transcript(reply)
            case protocol.Prefilled():
                self._emit(
                    events.UnitCommitted(seq=reply.seq, kv_length=reply.kv_length, prefill_ms=round(reply.ms, 1))
                )
            case protocol.Error(code="unknown_response" | "response_in_progress"):
                pass  # The cancel of what had just ended, or of what is long past: a benign race.
            case protocol.Error(response_id=str() as response_id):
                self.lost(response_id, reply.code, now)
            case _:
                pass

    def lost(self, response_id: str | None, reason: str, now: float) -> None:
        """Nothing more will come of a response (by default the one that is alive)."""
        response_id = response_id or self._floor.response_id
        if response_id is not None:
            self.speaking.fail(response_id, reason, now)
            self.tick(now)

    def tick(self, now: float) -> None:
        """Time has passed: decide what was waited for, and send what is due."""
        self._floor_event(floor.Tick(), now)

    # ---------------------------------------------------------------------------------------------- the floor's will

    def _floor_event(self, event: FloorEvent, now: float) -> None:
        """Let the floor decide; what follows from its effects waits until these are carried out."""
        self._floor_events.append(event)
        if len(self._floor_events) > 1:
            return
        while self._floor_events:
            self._carry_out(self._floor.handle(self._floor_events[0], now), now)
            self._floor_events.extend(floor.ReplyOver(ended.response_id) for ended in self.speaking.pump(now))
            self._floor_events.popleft()
        credit = self.speaking.credit(now)
        if credit is not None:
            self._session.played(*credit)

    def _carry_out(self, effects: list[Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case floor.OpenTurn():
                    self._open_turn(effect)
                case floor.EndTurn():
                    self._end_turn(effect, now)
                case floor.StartReply():
                    self._start_reply(effect, now)
                case floor.Adopt(response_id, number):
                    self.speaking.begin(response_id, self._new_id("item"), number, now, spoken=self.spoken)
                case floor.Pause(response_id):
                    self.speaking.pause(response_id, now)
                case floor.Resume(response_id):
                    self.speaking.resume(response_id, now)
                case floor.Clear(response_id):
                    self._clear(response_id, now)
                case floor.Cancel(response_id, keep_ms):
                    self._cut(response_id, keep_ms, now)
                case floor.Release():
                    self._release()

    def _open_turn(self, effect: floor.OpenTurn) -> None:
        self._turn = _Turn(effect.item_id)
        self._emit(events.SpeechStarted(audio_start_ms=effect.position // 16, item_id=effect.item_id))

    def _end_turn(self, effect: floor.EndTurn, now: float) -> None:
        self._turn.committed_at = now
        if not self._native:
            unit = self._cut_turn()
            if unit is not None:
                self._offer(unit)
            self._turn_of[self._last_seq] = effect.item_id
            while len(self._turn_of) > REMEMBERED_TURNS:
                self._turn_of.popitem(last=False)
        self._emit(events.SpeechStopped(audio_end_ms=effect.position // 16, item_id=effect.item_id))
        self._emit(events.Committed(item_id=effect.item_id, previous_item_id=self._last_item))
        self._add_item(events.Item(id=effect.item_id, content=[events.ContentPart(type="input_audio")]))

    def _start_reply(self, effect: floor.StartReply, now: float) -> None:
        self._cut_reason = "turn_detected"
        if not self._native:
            self._held.hold()
        self.speaking.begin(effect.response_id, self._new_id("item"), effect.number, now, spoken=self.spoken)
        instructions, self._instructions = self._instructions, ""
        self._session.generate(effect.response_id, GenerateOptions(say=effect.say, instructions=instructions))

    def _clear(self, response_id: str, now: float) -> None:
        """A client that reports playback answers with its last word; for any other the estimate is the last word."""
        heard_ms = self.speaking.playout.heard_ms(response_id, now)
        self.speaking.clear(response_id, now)
        if not self.speaking.playout.reported:
            self._floor_event(floor.Heard(response_id, heard_ms), now)

    def _cut(self, response_id: str, keep_ms: float | None, now: float) -> None:
        if keep_ms is None:
            keep_ms = self.speaking.playout.heard_ms(response_id, now)
        self._metrics.cancels.labels(self._cut_reason).inc()
        self.speaking.cut(response_id, self._cut_reason, now)
        self._cancel(response_id, round(keep_ms))

    def _cancel(self, response_id: str, keep_ms: int) -> None:
        self._keep_ms[response_id] = keep_ms
        self._session.cancel(response_id, keep_ms)

    def returned(self, item: protocol.Item) -> None:
        """A turn-based engine was in the middle of its reply and did not take `item`: it goes first afterwards."""
        self._returned.append(item)

    def _release(self) -> None:
        self._typed_waiting = 0
        returned, self._returned = self._returned, []
        for item in returned:
            self._last_seq = self._session.prefill(item)
        for waiting in self._held.release():
            self._send(waiting)

    # ---------------------------------------------------------------------------------------------- into the session

    def _offer(self, item: Waiting) -> None:
        for ready in self._held.offer(item):
            self._send(ready)

    def _send(self, item: Waiting) -> None:
        self._last_seq = self._session.prefill(_unit(item) if isinstance(item, CutUnit) else item)

    def _add_item(self, item: events.Item) -> None:
        item.status = "completed"
        self._emit(events.ItemAdded(item=item, previous_item_id=self._last_item))
        self._emit(events.ItemDone(item=item, previous_item_id=self._last_item))
        self._last_item = item.id

    # ---------------------------------------------------------------------------------------------- out of the session

    def _speech(self, reply: protocol.Speech, now: float) -> None:
        try:
            first = self.speaking.speech(reply, now)
        except PlayoutError as error:
            log.error("speech_refused", error=str(error))
            self._session.cancel(reply.response_id, 0)
            self.lost(reply.response_id, "invalid_speech", now)
            return
        if first:
            self._first_sound(reply.response_id, now)
        else:
            self.tick(now)

    def _first_sound(self, response_id: str, now: float) -> None:
        turn, self._turn = self._turn, _Turn(self._turn.item_id)
        if turn.ended_at is not None and turn.committed_at is not None:
            self._metrics.first_audio_seconds.observe(now - turn.ended_at)
            timings = {
                "turn_end_ms": round((turn.committed_at - turn.ended_at) * 1000, 1),
                "first_audio_ms": round((now - turn.ended_at) * 1000, 1),
            }
            self._emit(events.TurnTimings(response_id=response_id, timings=timings))
        self._floor_event(floor.FirstSound(response_id), now)

    def _done(self, reply: protocol.Done, now: float) -> None:
        self._metrics.responses.labels(reply.reason).inc()
        self.speaking.done(reply, now)
        if reply.suggestions:
            self._emit(events.Suggestions(suggestions=list(reply.suggestions)))
        self.tick(now)

    def _transcript(self, reply: protocol.Transcript) -> None:
        item_id = self._turn_of.get(reply.seq)
        if item_id is not None:
            self._emit(events.TranscriptionCompleted(item_id=item_id, transcript=reply.text))

    def _log_transition(self, old: FloorState, new: FloorState, reason: str) -> None:
        log.debug("floor", old=old.value, new=new.value, reason=reason, generation=self._floor.generation)


def _unit(unit: CutUnit) -> Unit:
    return Unit(audio=unit.padded, pictures=list(unit.pictures), voiced=unit.voiced, last=unit.last)
