"""The turn taker: who has the floor. Sans-I/O.

`Floor.handle(event, now)` takes what happened and returns what to do, in order; `Floor.deadline` says when to call it
again with `Tick`. It knows no clock, socket, sample or model, so a whole conversation replays from its events. Times
are seconds of one monotonic clock, positions samples of the call's 16 kHz audio, `*_ms` milliseconds.

    IDLE ──speech──▶ PERSON ──silence──▶ THINKING ──first sound──▶ SPEAKING ──all heard──▶ IDLE
                       ▲  ▲                  │ person goes on          │ person makes a sound
                       │  └──────────────────┘                         ▼
                       └──────cancelled──── YIELDING ◀──goes on──── HOLDING ──falls silent──▶ SPEAKING
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import get_args

from model_server.protocol import HEARING_RATE
from realtime.floor_events import (
    Adopt,
    Cancel,
    Clear,
    Effect,
    EndTurn,
    FirstSound,
    FloorEvent,
    Heard,
    OpenTurn,
    Pause,
    Release,
    ReplyOver,
    ReplyRequested,
    ReplyStarted,
    Resume,
    SpeechStarted,
    SpeechStopped,
    StartReply,
    Stirred,
    StopRequested,
    Tick,
    Voice,
)
from realtime.interruption import Meaning, Sounding, UsualLevel
from realtime.pauses import Eagerness, PauseStatistics

__all__ = [
    "Adopt",
    "Cancel",
    "Clear",
    "Effect",
    "EndTurn",
    "FirstSound",
    "Floor",
    "FloorEvent",
    "FloorRules",
    "FloorState",
    "Heard",
    "OpenTurn",
    "Pause",
    "Release",
    "ReplyOver",
    "ReplyRequested",
    "ReplyStarted",
    "Resume",
    "SpeechStarted",
    "SpeechStopped",
    "StartReply",
    "Stirred",
    "StopRequested",
    "Tick",
    "Voice",
]

FRESH_MS = 100.0
"""A voice is noticed within so long of its start."""

WEIGH_AGAIN_MS = 100.0
"""A sound that stays unclear is weighed again so often."""

MOST_STIRRINGS = 3
"""The end of a turn is put off no longer than so many times `stirring_ms`."""

REPAIR_MS = 1_200.0
"""A person who speaks over a reply so soon after the end of their turn was going on: that was a pause."""


class FloorState(Enum):
    """Who has the floor."""

    IDLE = "idle"
    PERSON = "person"
    THINKING = "thinking"
    SPEAKING = "speaking"
    HOLDING = "holding"
    YIELDING = "yielding"


@dataclass(frozen=True, slots=True)
class FloorRules:
    """How the floor decides. All in milliseconds except `eagerness` and `native`.

    `silence_ms`: silence after speech that ends a turn of a usual person; `eagerness` says how it adapts to this one
    (see `pauses`), `stirring_ms`: for how long a sound that may be the person going on puts it off. `interrupt_ms`:
    a sound over the assistant that has lasted so long is weighed (see `interruption`); until then it only holds it.
    `final_ack_ms`: how long a yield waits for the page to say what was heard. `thinking_ms`: an engine that makes no
    sound for so long is given up. `native`: the engine answers of its own accord, so turns are not cut and replies not
    asked for.
    """

    silence_ms: float = 500.0
    interrupt_ms: float = 250.0
    final_ack_ms: float = 250.0
    thinking_ms: float = 20_000.0
    stirring_ms: float = 80.0
    eagerness: Eagerness = "auto"
    native: bool = False

    def __post_init__(self) -> None:
        for name in ("silence_ms", "interrupt_ms", "final_ack_ms", "thinking_ms", "stirring_ms"):
            value = getattr(self, name)
            if not 0 <= value <= 60_000:
                raise ValueError(f"{name} is between 0 and 60000 ms, got {value}")
        if self.eagerness not in get_args(Eagerness):
            raise ValueError(f"eagerness is one of {', '.join(get_args(Eagerness))}, got {self.eagerness!r}")


class Floor:
    """One call's floor. `new_id(prefix)` makes ids; `log(transition facts)` hears every decision with its reason."""

    def __init__(
        self,
        rules: FloorRules,
        new_id: Callable[[str], str],
        log: Callable[[FloorState, FloorState, str], None] = lambda old, new, reason: None,
    ) -> None:
        self.rules = rules
        self.state = FloorState.IDLE
        self.deadline: float | None = None
        """When `Tick` is due, None while nothing waits for time."""
        self.generation = 0
        """Grows with every response: what carries an older number is stale."""
        self._new_id = new_id
        self._log = log
        self._reply: str | None = None
        self._item_id: str | None = None
        self._voice: SpeechStarted | None = None
        self._quiet: SpeechStopped | None = None
        self._wanted: ReplyRequested | None = None
        self._pauses = PauseStatistics()
        self._ended: SpeechStopped | None = None
        """The end of the person's latest speech."""
        self._usual = UsualLevel()
        self._sounding: Sounding | None = None
        """What the voice that goes on, or the latest one, sounds like."""

    @property
    def response_id(self) -> str | None:
        """The one response that is alive, None when there is none."""
        return self._reply

    @property
    def ignores_voice(self) -> bool:
        """Whether the voice that is heard over the assistant is taken for somebody or something else."""
        return self.state == FloorState.SPEAKING and self._voice is not None

    @property
    def person_speaks(self) -> bool:
        """Whether the detector hears the person now."""
        return self._voice is not None

    def handle(self, event: FloorEvent, now: float) -> list[Effect]:
        """Take one event; returns the effects in the order in which they must happen."""
        match event:
            case SpeechStarted():
                return self._speech_started(event, now)
            case SpeechStopped():
                return self._speech_stopped(event, now)
            case Voice(sounding):
                return self._voice_goes_on(sounding, now)
            case Stirred():
                return self._stirred(now)
            case ReplyRequested():
                return self._reply_requested(event, now)
            case ReplyStarted(response_id):
                return self._adopt(response_id, now)
            case FirstSound(response_id):
                return self._first_sound(response_id, now)
            case ReplyOver(response_id):
                return self._reply_over(response_id, now)
            case Heard(response_id, heard_ms):
                return self._heard(response_id, heard_ms, now)
            case StopRequested(reason):
                return self._stop(reason, now)
            case Tick():
                return self._tick(now)

    # ---------------------------------------------------------------------------------------------- the person

    def _speech_started(self, event: SpeechStarted, now: float) -> list[Effect]:
        self._voice, self._quiet, self._sounding = event, None, event.sounding
        if self.state in (FloorState.PERSON, FloorState.THINKING):
            self._note_pause(event)
        match self.state:
            case FloorState.IDLE:
                return self._open_turn(event, "speech")
            case FloorState.PERSON:
                self.deadline = None
                return self._open_turn(event, "speech") if self._item_id is None else []
            case FloorState.THINKING:
                return self._take_back(event)
            case FloorState.SPEAKING:
                return self._voice_over_reply(now)
            case _:
                return []

    def _speech_stopped(self, event: SpeechStopped, now: float) -> list[Effect]:
        if self._voice is None:
            return []
        began, self._voice, self._quiet = self._voice, None, event
        if self.state == FloorState.PERSON and self._sounding is not None:
            self._usual.learn(self._sounding)
        if self.state in (FloorState.PERSON, FloorState.THINKING):
            self._ended = event
        match self.state:
            case FloorState.PERSON:
                self.deadline = self._turn_over_at(event, now)
                return []
            case FloorState.THINKING:
                return self._close_turn()
            case FloorState.HOLDING:
                return self._short_sound(began, event, now)
            case _:
                return []

    def _stirred(self, now: float) -> list[Effect]:
        if self.state == FloorState.PERSON and self._quiet is not None and self.deadline is not None:
            latest = self._turn_over_at(self._quiet, 0.0) + MOST_STIRRINGS * self.rules.stirring_ms / 1000
            self.deadline = max(self.deadline, min(latest, now + self.rules.stirring_ms / 1000))
        return []

    def _turn_over_at(self, quiet: SpeechStopped, now: float) -> float:
        silence_ms = self._pauses.silence_ms(self.rules.silence_ms, self.rules.eagerness)
        return max(now, quiet.at + silence_ms / 1000)

    def _note_pause(self, event: SpeechStarted) -> None:
        """The person goes on: how long they paused says how long to wait next time."""
        if self._ended is not None:
            self._pauses.went_on(1000 * (event.position - self._ended.position) / HEARING_RATE)
            self._ended = None

    def _open_turn(self, event: SpeechStarted, reason: str) -> list[Effect]:
        self._item_id = self._new_id("item")
        self._go(FloorState.PERSON, reason)
        return [OpenTurn(self._item_id, event.position)]

    def _end_turn(self, now: float) -> list[Effect]:
        closed = self._close_turn()
        if self.rules.native:
            self._go(FloorState.IDLE, "silence")
            return closed
        return closed + self._start_reply(self._wanted or ReplyRequested(), "silence", now)

    def _close_turn(self) -> list[Effect]:
        """The person's turn, if one is open and they fell silent, is complete."""
        if self._item_id is None or self._quiet is None:
            return []
        item_id, position = self._item_id, self._quiet.position
        self._item_id = self._quiet = None
        return [EndTurn(item_id, position)]

    def _take_back(self, event: SpeechStarted) -> list[Effect]:
        """The person goes on before the first sound: the pause was taken too early, the turn stays one turn."""
        effects: list[Effect] = [Cancel(self._drop_reply(), 0), Release()]
        if self._item_id is None:
            return effects + self._open_turn(event, "person goes on")
        return effects + self._back_to_person("person goes on")

    # ---------------------------------------------------------------------------------------------- the reply

    def _reply_requested(self, event: ReplyRequested, now: float) -> list[Effect]:
        match self.state:
            case FloorState.IDLE:
                return self._start_reply(event, "asked", now)
            case FloorState.PERSON | FloorState.YIELDING if event.say is not None:
                pass  # The person has begun: what was to be said by rote has lost its moment.
            case FloorState.PERSON if self._voice is None:
                # What is typed ends the turn whose silence was being waited out.
                self._wanted = event
                return self._end_turn(now)
            case FloorState.PERSON | FloorState.YIELDING:
                self._wanted = event
        return []

    def _start_reply(self, event: ReplyRequested, reason: str, now: float) -> list[Effect]:
        self._wanted = None
        if self.rules.native and event.say is None:
            self._go(FloorState.IDLE, "native engine answers by itself")
            return []
        self.generation += 1
        self._reply = self._new_id("resp")
        self._think(reason, now)
        return [StartReply(self._reply, self.generation, event.say)]

    def _adopt(self, response_id: str, now: float) -> list[Effect]:
        if self._reply is not None:
            # Two replies at once cannot be heard: the newer one never happened.
            return [Cancel(response_id, 0)]
        self.generation += 1
        self._reply = response_id
        self._think("engine began", now)
        return [*self._close_turn(), Adopt(response_id, self.generation)]

    def _think(self, reason: str, now: float) -> None:
        self._go(FloorState.THINKING, reason)
        self.deadline = now + self.rules.thinking_ms / 1000

    def _first_sound(self, response_id: str, now: float) -> list[Effect]:
        if self.state != FloorState.THINKING or not self._is_current(response_id):
            return []
        if self._voice is not None and self._is_the_person:
            # A native engine may begin while the person speaks: the same rule as for a person who speaks over it.
            return self._hold(self._voice, now)
        self._go(FloorState.SPEAKING, "first sound")
        return []

    def _reply_over(self, response_id: str, now: float) -> list[Effect]:
        if not self._is_current(response_id) or self.state == FloorState.YIELDING:
            return []
        self._reply = None
        return [Release(), *self._after_reply("all heard", now)]

    def _after_reply(self, reason: str, now: float) -> list[Effect]:
        """The reply is gone: the floor is the person's if they speak or just spoke, else nobody's."""
        if self._voice is not None and (self._item_id is not None or self._is_the_person):
            return self._open_turn(self._voice, reason) if self._item_id is None else self._back_to_person(reason)
        if self._item_id is not None and self._quiet is not None:
            self.deadline = self._turn_over_at(self._quiet, now)
            return self._back_to_person(reason, keep_deadline=True)
        self._quiet = self._item_id = None
        self._go(FloorState.IDLE, reason)
        return self._start_reply(self._wanted, "asked", now) if self._wanted else []

    def _back_to_person(self, reason: str, keep_deadline: bool = False) -> list[Effect]:
        self._go(FloorState.PERSON, reason, keep_deadline)
        return []

    # ---------------------------------------------------------------------------------------------- hold and yield

    def _hold(self, event: SpeechStarted, now: float) -> list[Effect]:
        assert self._reply is not None
        self._go(FloorState.HOLDING, "sound over the assistant")
        self.deadline = max(now, event.at + self.rules.interrupt_ms / 1000)
        return [Pause(self._reply)]

    def _voice_goes_on(self, sounding: Sounding, now: float) -> list[Effect]:
        """A voice that was not the person's may be joined by the person's."""
        self._sounding = sounding
        match self.state:
            case FloorState.SPEAKING:
                return self._voice_over_reply(now)
            case FloorState.IDLE if self._voice is not None and self._is_the_person:
                return self._open_turn(self._voice, "speech")
            case _:
                return []

    @property
    def _is_the_person(self) -> bool:
        """Whether the voice that is heard may be the person's, as far as it is known."""
        return self._usual.meaning(self._sounding) is not Meaning.NOT_THE_PERSON

    def _voice_over_reply(self, now: float) -> list[Effect]:
        """Hold for every voice that may be the person's."""
        if self._voice is None or not self._is_the_person:
            return []
        # A voice that was ignored so far begins to be the person's only now.
        self._voice = replace(self._voice, at=max(self._voice.at, now - FRESH_MS / 1000))
        return self._hold(self._voice, now)

    def _weigh(self, voice: SpeechStarted, now: float) -> list[Effect]:
        """The sound over the assistant has lasted: yield, wait for more of it, or go on."""
        match self._usual.meaning(self._sounding, lasted_ms=_ms(now - voice.at)):
            case Meaning.WANTS_FLOOR:
                return self._yield("person speaks over the assistant", now)
            case Meaning.UNCLEAR:
                self.deadline = now + WEIGH_AGAIN_MS / 1000
                return []
            case Meaning.NOT_THE_PERSON:
                return self._resume("not the person")

    def _short_sound(self, began: SpeechStarted, ended: SpeechStopped, now: float) -> list[Effect]:
        """The sound is over already: a word that wants the floor is as short as one that does not."""
        lasted_ms = _ms(ended.at - began.at)
        meaning = self._usual.meaning(self._sounding, lasted_ms=lasted_ms, over=True)
        if self._sounding is None or meaning is not Meaning.WANTS_FLOOR:
            return self._resume("short sound")
        opened = self._open_turn(began, "short word") if self._item_id is None else []
        self._quiet = ended
        assert self._reply is not None
        return [*opened, *self._yield("short word", now)]

    def _resume(self, reason: str) -> list[Effect]:
        assert self._reply is not None
        closed = self._close_turn()
        self._quiet = None
        self._go(FloorState.SPEAKING, reason)
        return [*closed, Resume(self._reply)]

    def _stop(self, reason: str, now: float) -> list[Effect]:
        match self.state:
            case FloorState.THINKING:
                cancel = Cancel(self._drop_reply(), 0)
                return [cancel, Release(), *self._after_reply(reason, now)]
            case FloorState.SPEAKING | FloorState.HOLDING:
                return self._yield(reason, now)
            case _:
                return []

    def _yield(self, reason: str, now: float) -> list[Effect]:
        assert self._reply is not None
        effects: list[Effect] = [Clear(self._reply)]
        if self._voice is not None and self._ended is not None:
            since = 1000 * (self._voice.position - self._ended.position) / HEARING_RATE
            if since <= REPAIR_MS:
                self._note_pause(self._voice)
        if self._voice is not None and self._item_id is None and self._is_the_person:
            effects += self._open_turn(self._voice, reason)
        self._go(FloorState.YIELDING, reason)
        self.deadline = now + self.rules.final_ack_ms / 1000
        return effects

    def _heard(self, response_id: str, heard_ms: float | None, now: float) -> list[Effect]:
        if self.state != FloorState.YIELDING or not self._is_current(response_id):
            return []
        cancel = Cancel(self._drop_reply(), heard_ms)
        return [cancel, Release(), *self._after_reply("cut", now)]

    # ---------------------------------------------------------------------------------------------- time

    def _tick(self, now: float) -> list[Effect]:
        if self.deadline is None or now < self.deadline:
            return []
        self.deadline = None
        match self.state:
            case FloorState.PERSON:
                return self._end_turn(now)
            case FloorState.THINKING:
                return self._stop("engine made no sound", now)
            case FloorState.HOLDING:
                return self._weigh(self._voice, now) if self._voice is not None else self._resume("short sound")
            case FloorState.YIELDING:
                return self._heard(self._reply, None, now) if self._reply else []
            case _:
                return []

    # ---------------------------------------------------------------------------------------------- bookkeeping

    def _is_current(self, response_id: str) -> bool:
        return self._reply == response_id

    def _drop_reply(self) -> str:
        assert self._reply is not None
        response_id, self._reply = self._reply, None
        return response_id

    def _go(self, state: FloorState, reason: str, keep_deadline: bool = False) -> None:
        if not keep_deadline:
            self.deadline = None
        if state != self.state:
            self._log(self.state, state, reason)
        self.state = state


def _ms(seconds: float) -> float:
    """Whole microseconds: what is due after a time is due at that time, despite floating point."""
    return round(1000 * seconds, 3)
