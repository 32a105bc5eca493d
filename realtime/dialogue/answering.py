"""The assistant's side of a conversation: the floor's will is carried out, and what the session answers is taken.

No sockets and no clock in here: whoever calls brings the time, a session port carries requests out, and `emit` carries
events out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import structlog

from model_server import protocol
from model_server.protocol import Capabilities, GenerateOptions
from realtime import events
from realtime.dialogue.guess import Guesses, Taken
from realtime.dialogue.turn_events import TurnEvents
from realtime.dialogue.writing import Cutter, SessionPort, Writing
from realtime.events import ServerEvent
from realtime.floor import events as floor
from realtime.floor.events import Effect, FloorEvent
from realtime.floor.floor import Floor
from realtime.floor.hands_free import HandsFree
from realtime.floor.rules import FloorRules, FloorState
from realtime.floor.stop_words import StopWords
from realtime.output.playout import PlayoutError
from realtime.output.speaking import Speaking
from realtime.service.metrics import Metrics

log = structlog.get_logger(__name__)

PATIENCE_S = 0.02
"""Speech goes out up to so much late if something else happens meanwhile: a wake less for each packet. A page has
200 ms in store; a return track does not."""


class Answering:
    """One call's answers. `cutter` closes a turn's short unit; `emit` sends an event to the client; `decided` hears
    every decision of the floor: who had it, who has it, why.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        session: SessionPort,
        speaking: Speaking,
        emit: Callable[[ServerEvent], None],
        cutter: Cutter,
        new_id: Callable[[str], str],
        rules: FloorRules,
        metrics: Metrics,
        decided: Callable[[FloorState, FloorState, str], None] = lambda old, new, reason: None,
    ) -> None:
        self.speaking = speaking
        self.spoken = True
        """Whether the client wants speech at all."""
        self._hands_free = HandsFree()
        self.stop_words: StopWords | None = None
        """What knows the words that want the floor; None: loudness alone decides."""
        self._native = capabilities.turn_taking == "native"
        self._session = session
        self._emit = emit
        self._new_id = new_id
        self._metrics = metrics
        self._cutter = cutter
        self._writing = Writing(session, cutter)
        self._manual = rules.manual
        self._guesses = Guesses(self._writing, session, metrics)
        self._spare = False
        self._floor = Floor(rules, new_id, self._log_transition)
        self._decided = decided
        self._floor_events: deque[FloorEvent] = deque()
        self._turns = TurnEvents(emit)
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
        return _earlier(self._floor.deadline, self.speaking.deadline)

    @property
    def latest(self) -> float | None:
        """When `tick` is due at the latest: speech may wait for company."""
        speech = self.speaking.deadline
        if speech is not None and self.speaking.playout.reported:
            speech += PATIENCE_S
        return _earlier(self._floor.deadline, speech)

    # ---------------------------------------------------------------------------------------------- what is answered

    def reply(self, reply: protocol.Reply, now: float) -> None:
        """The model server said something."""
        taken = self._guesses.take(reply, now)
        if taken is Taken.FAILED:
            self._floor_event(floor.ReplyOver(self._guesses.response_id), now)
        if taken is not Taken.OTHER:
            return
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
            case protocol.Cancelled(response_id=response_id) if response_id in self._keep_ms:
                self.speaking.truncated(response_id, self._keep_ms.pop(response_id), reply.kept_text)
            case protocol.Transcript():
                self._transcript(reply)
            case protocol.Prefilled():
                self._prefilled(reply, now)
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
            ended = [each.response_id for each in self.speaking.pump(now)]
            self._floor_events.extend(floor.ReplyOver(each, self.speaking.asks(each)) for each in ended)
            self._floor_events.popleft()
        credit = self.speaking.credit(now)
        if credit is not None:
            self._session.played(*credit)

    def _carry_out(self, effects: list[Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case floor.OpenTurn(item_id, position):
                    self._turns.opened(item_id, position)
                case floor.EndTurn():
                    self._end_turn(effect, now)
                case floor.StartReply():
                    self._start_reply(effect, now)
                case floor.Guess(response_id):
                    self._guesses.begin(response_id, now)
                case floor.Discard(response_id):
                    self._guesses.discard(response_id, now)
                case floor.Adopt():
                    self._adopt(effect, now)
                case floor.TakeBack():
                    self._take_back(effect, now)
                case floor.Pause(response_id):
                    self._keep_pre_roll()
                    self.speaking.pause(response_id, now)
                case floor.Resume(response_id):
                    self.speaking.resume(response_id, now)
                case floor.Clear(response_id):
                    self._clear(response_id, now)
                case floor.Cancel(response_id, keep_ms):
                    self._cut(response_id, keep_ms, now)
                case floor.Release():
                    self._writing.release()

    def _keep_pre_roll(self) -> None:
        """A voice that was taken for somebody else's is the person's now: their first word may have begun before."""
        position = self._floor.voice_position
        if position is not None:
            self._writing.held.voice_from(position)

    def _end_turn(self, effect: floor.EndTurn, now: float) -> None:
        if not self._native:
            self._writing.end_turn(effect.item_id)
        self._turns.ended(effect.item_id, None if self._manual else effect.position, now)

    def _start_reply(self, effect: floor.StartReply, now: float) -> None:
        self._cut_reason = "turn_detected"
        if not self._native:
            self._writing.held.hold()
        self.speaking.begin(effect.response_id, self._new_id("item"), effect.number, now, spoken=self.spoken)
        instructions, self._instructions = self._instructions, ""
        self._session.generate(effect.response_id, GenerateOptions(say=effect.say, instructions=instructions))

    def _take_back(self, effect: floor.TakeBack, now: float) -> None:
        """Reply and turn's end never were: the client forgets both items, and the turn is open again."""
        self._metrics.cancels.labels("repaired").inc()
        self.speaking.cut(effect.response_id, "turn_detected", now)
        self._writing.take_back(effect.response_id)
        self._turns.reopened(effect.item_id, effect.position, self.speaking.item_of(effect.response_id))

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

    def _adopt(self, effect: floor.Adopt, now: float) -> None:
        """A native engine's response begins, or the guess is the reply: what it said so far is said now."""
        self._cut_reason = "turn_detected"
        self.speaking.begin(effect.response_id, self._new_id("item"), effect.number, now, spoken=self.spoken)
        for reply in self._guesses.adopt(now):
            self.reply(reply, now)

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
        waited_s = self._turns.answered(response_id, now)
        if waited_s is not None:
            self._metrics.first_audio_seconds.observe(waited_s)
        self._floor_event(floor.FirstSound(response_id), now)

    def _done(self, reply: protocol.Done, now: float) -> None:
        self._metrics.responses.labels(reply.reason).inc()
        self.speaking.done(reply, now)
        if reply.suggestions:
            self._emit(events.Suggestions(suggestions=list(reply.suggestions)))
        self.tick(now)

    def _prefilled(self, reply: protocol.Prefilled, now: float) -> None:
        self._emit(events.UnitCommitted(seq=reply.seq, kv_length=reply.kv_length, prefill_ms=round(reply.ms, 1)))
        if reply.spare != self._spare:
            self._spare = reply.spare
            self._floor_event(floor.Capacity(reply.spare), now)

    def _transcript(self, reply: protocol.Transcript) -> None:
        item_id = self._writing.turn_of(reply.seq)
        if item_id is not None:
            self._emit(events.TranscriptionCompleted(item_id=item_id, transcript=reply.text))

    def _log_transition(self, old: FloorState, new: FloorState, reason: str) -> None:
        log.debug("floor", old=old.value, new=new.value, reason=reason, generation=self._floor.generation)
        self._decided(old, new, reason)


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
