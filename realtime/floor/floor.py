"""The turn taker: who has the floor. Sans-I/O.

`Floor.handle(event, now)` takes what happened and returns what to do, in order; `Floor.deadline` says when to call it
again with `Tick`. It knows no clock, socket, sample or model, so a whole conversation replays from its events. Times
are seconds of one monotonic clock, positions samples of the call's 16 kHz audio, `*_ms` milliseconds. The person's
turn is in `turn`, the reply in `replies`, a voice over the reply in `hold`.

    IDLE ──speech──▶ PERSON ──silence──▶ THINKING ──first sound──▶ SPEAKING ──all heard──▶ IDLE
                       ▲  ▲                  │ person goes on          │ person makes a sound
                       │  └──────────────────┘                         ▼
                       └──────cancelled──── YIELDING ◀──goes on──── HOLDING ──falls silent──▶ SPEAKING
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from realtime.floor.events import (
    Active,
    Capacity,
    Commit,
    ContextChanges,
    Effect,
    EndJudged,
    FirstSound,
    FloorEvent,
    Heard,
    ReplyOver,
    ReplyRequested,
    ReplyStarted,
    RulesChange,
    SpeechStarted,
    SpeechStopped,
    Spotted,
    Stirred,
    StopRequested,
    Tick,
    Voice,
)
from realtime.floor.hold import Holding
from realtime.floor.interruption import Sign, Sounding
from realtime.floor.rules import FloorRules, FloorState

MOST_STIRRINGS = 3
"""The end of a turn is put off no longer than so many times `stirring_ms`."""


class Floor(Holding):
    """One call's floor. `new_id(prefix)` makes ids; `log(transition facts)` hears every decision with its reason."""

    def __init__(
        self,
        rules: FloorRules,
        new_id: Callable[[str], str],
        log: Callable[[FloorState, FloorState, str], None] = lambda old, new, reason: None,
    ) -> None:
        super().__init__(rules, new_id, log)

    @property
    def ignores_voice(self) -> bool:
        """Whether the voice that is heard over the assistant is taken for somebody or something else."""
        return self.state == FloorState.SPEAKING and self._turn.voice is not None

    @property
    def usual_db(self) -> float | None:
        """How loud the person usually speaks, dB of full scale; None before they spoke."""
        return self._turn.usual.db

    @property
    def voice_position(self) -> int | None:
        """Since which sample the voice is heard that may be the person's; None while there is none."""
        return self._turn.voice.position if self._turn.voice is not None else None

    @property
    def person_speaks(self) -> bool:
        """Whether the detector hears the person now."""
        return self._turn.voice is not None

    def handle(self, event: FloorEvent, now: float) -> list[Effect]:
        """Take one event; returns the effects in the order in which they must happen."""
        if self.rules.manual and isinstance(event, SpeechStarted | SpeechStopped | Voice | Stirred | Sign):
            return []
        match event:
            case SpeechStarted():
                return self._speech_started(event, now)
            case SpeechStopped():
                return self._speech_stopped(event, now)
            case Voice(sounding):
                return self._voice_goes_on(sounding, now)
            case Stirred():
                return self._stirred(now)
            case EndJudged():
                return self._end_judged(event, now)
            case Sign():
                return self._first_sign(event, now)
            case Spotted(stop_word):
                return self._spotted(stop_word, now)
            case ReplyRequested():
                return self._reply_requested(event, now)
            case ReplyStarted(response_id):
                return self._adopt(response_id, now)
            case FirstSound(response_id):
                return self._first_sound(response_id, now)
            case ReplyOver(response_id, asked):
                return self._reply_over(response_id, asked, now)
            case Heard(response_id, heard_ms):
                return self._heard(response_id, heard_ms, now)
            case StopRequested(reason):
                return self._stop(reason, now)
            case Capacity(spare):
                self._spare = spare
                return []
            case ContextChanges():
                return self._drop_guess() + self._is_active(now)
            case RulesChange(rules):
                return self._change_rules(rules, now)
            case Commit(position):
                return self._turn.commit(position)
            case Active():
                return self._is_active(now)
            case Tick():
                return self._tick(now)

    def _change_rules(self, rules: FloorRules, now: float) -> list[Effect]:
        """Where voices decide nothing any more, what waits for one waits no longer."""
        self.rules = rules
        if not rules.manual:
            return []
        effects = self._drop_guess()
        self._turn.voice = self._turn.quiet = None
        match self.state:
            case FloorState.PERSON:
                return effects + self._after_reply("push to talk", now)
            case FloorState.HOLDING:
                return self._resume("push to talk", now)
            case _:
                return effects

    # ---------------------------------------------------------------------------------------------- a voice

    def _speech_started(self, event: SpeechStarted, now: float) -> list[Effect]:
        self._turn.voice_started(event)
        wrong = self._drop_guess()
        return wrong + self._voice_began(event, now)

    def _voice_began(self, event: SpeechStarted, now: float) -> list[Effect]:
        if self.state in (FloorState.PERSON, FloorState.THINKING):
            self._turn.note_pause(event)
        match self.state:
            case FloorState.IDLE:
                return self._open_turn(event, "speech")
            case FloorState.PERSON:
                self._due = None
                return self._open_turn(event, "speech") if self._turn.current is None else []
            case FloorState.THINKING:
                return self._take_back(event)
            case FloorState.SPEAKING:
                return self._voice_over_reply(now)
            case FloorState.HOLDING:
                self._due = self._weighed_at(event, now)
                return []
            case _:
                return []

    def _speech_stopped(self, event: SpeechStopped, now: float) -> list[Effect]:
        began = self._turn.voice_stopped(event)
        if began is None:
            return []
        if self.state == FloorState.PERSON:
            self._turn.learn_level()
        if self.state in (FloorState.PERSON, FloorState.THINKING):
            self._turn.paused(began, event)
        match self.state:
            case FloorState.PERSON:
                self._await_end(event, now)
                return []
            case FloorState.THINKING:
                return self._turn.close()
            case FloorState.HOLDING:
                return self._short_sound(began, event, now)
            case _:
                return []

    def _stirred(self, now: float) -> list[Effect]:
        quiet = self._turn.quiet
        if self.state == FloorState.PERSON and quiet is not None and self._due is not None:
            latest = self._turn_over_at(quiet, 0.0) + MOST_STIRRINGS * self.rules.stirring_ms / 1000
            wait = min(latest, now + self.rules.stirring_ms / 1000)
            self._due = max(self._due, wait)
            if self._guess_at is not None:
                self._guess_at = min(max(self._guess_at, wait), self._due)
        return []

    def _end_judged(self, event: EndJudged, now: float) -> list[Effect]:
        quiet = self._turn.quiet
        waits = self.state == FloorState.PERSON and self._due is not None
        if waits and quiet is not None and quiet.position == event.position:
            self._turn.quiet = judged = replace(quiet, judged=event.odds)
            self._await_end(judged, now)
        return []

    def _voice_goes_on(self, sounding: Sounding, now: float) -> list[Effect]:
        """A voice that was not the person's may be joined by the person's."""
        self._turn.sounding = sounding
        match self.state:
            case FloorState.SPEAKING:
                return self._voice_over_reply(now)
            case FloorState.IDLE if self._turn.voice is not None and self._turn.is_the_person:
                return self._open_turn(self._turn.voice, "speech")
            case _:
                return []

    # ---------------------------------------------------------------------------------------------- time

    def _tick(self, now: float) -> list[Effect]:
        if self._due is None or now < self._due:
            return self._guess_reply() if self._guess_at is not None and now >= self._guess_at else []
        self._due = None
        match self.state:
            case FloorState.PERSON:
                return self._end_turn(now)
            case FloorState.THINKING:
                return self._stop("engine made no sound", now)
            case FloorState.HOLDING:
                return self._held_long_enough(now)
            case FloorState.YIELDING:
                return self._heard(self._reply, None, now) if self._reply else []
            case FloorState.IDLE:
                return self._prompt(now)
            case _:
                return []
