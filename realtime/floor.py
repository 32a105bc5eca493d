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
from dataclasses import dataclass
from enum import Enum


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
    """How the floor decides. All in milliseconds except `native`.

    `silence_ms`: silence after speech that ends a turn. `interrupt_ms`: speech over the assistant that makes it yield;
    less only holds it. `final_ack_ms`: how long a yield waits for the page to say what was heard. `thinking_ms`: an
    engine that makes no sound for so long is given up. `native`: the engine answers of its own accord, so turns are not
    cut and replies not asked for.
    """

    silence_ms: float = 500.0
    interrupt_ms: float = 250.0
    final_ack_ms: float = 250.0
    thinking_ms: float = 20_000.0
    native: bool = False

    def __post_init__(self) -> None:
        for name in ("silence_ms", "interrupt_ms", "final_ack_ms", "thinking_ms"):
            value = getattr(self, name)
            if not 0 <= value <= 60_000:
                raise ValueError(f"{name} is between 0 and 60000 ms, got {value}")


# --------------------------------------------------------------------------------------------------------------------
# What happened


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The detector hears the person since sample `position`, which arrived at time `at`."""

    position: int
    at: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The person's speech ended at sample `position`, which arrived at time `at`."""

    position: int
    at: float


@dataclass(frozen=True, slots=True)
class ReplyRequested:
    """The client wants an answer now (typed text, `response.create`), or `say` spoken."""

    say: str | None = None


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """A native engine began a response by itself."""

    response_id: str


@dataclass(frozen=True, slots=True)
class FirstSound:
    """The response's first speech is on its way to the loudspeaker."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ReplyOver:
    """Nothing more will come of the response: all of it was heard, it had no speech, or it failed."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The page's final word on a cleared response: `heard_ms` of it left the loudspeaker."""

    response_id: str
    heard_ms: float


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The client wants silence now (`output_audio_buffer.clear`, `response.cancel`), or units waited too long."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


FloorEvent = (
    SpeechStarted
    | SpeechStopped
    | ReplyRequested
    | ReplyStarted
    | FirstSound
    | ReplyOver
    | Heard
    | StopRequested
    | Tick
)

# --------------------------------------------------------------------------------------------------------------------
# What to do


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """The person took the floor at sample `position`."""

    item_id: str
    position: int


@dataclass(frozen=True, slots=True)
class EndTurn:
    """The person's turn ended at sample `position`: cut the short unit and write it into the session."""

    item_id: str
    position: int


@dataclass(frozen=True, slots=True)
class StartReply:
    """Ask the engine to answer; units are held from now on until `Release`."""

    response_id: str
    number: int
    say: str | None = None


@dataclass(frozen=True, slots=True)
class Adopt:
    """A native engine's response `response_id` gets channel number `number`."""

    response_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Fall silent, keep what is buffered."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on where it paused."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Fall silent for good; the page answers with what was heard. Nothing of the response is sent from now on."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Tell the engine: of this response `keep_ms` were heard, None when that is for the shell to estimate."""

    response_id: str
    keep_ms: float | None


@dataclass(frozen=True, slots=True)
class Release:
    """Send the units that were held, in order, and hold no more."""


Effect = OpenTurn | EndTurn | StartReply | Adopt | Pause | Resume | Clear | Cancel | Release


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

    @property
    def response_id(self) -> str | None:
        """The one response that is alive, None when there is none."""
        return self._reply

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
        self._voice, self._quiet = event, None
        match self.state:
            case FloorState.IDLE:
                return self._open_turn(event, "speech")
            case FloorState.PERSON:
                self.deadline = None
                return self._open_turn(event, "speech") if self._item_id is None else []
            case FloorState.THINKING:
                return self._take_back(event)
            case FloorState.SPEAKING:
                return self._hold(event, now)
            case _:
                return []

    def _speech_stopped(self, event: SpeechStopped, now: float) -> list[Effect]:
        if self._voice is None:
            return []
        self._voice, self._quiet = None, event
        match self.state:
            case FloorState.PERSON:
                self.deadline = max(now, event.at + self.rules.silence_ms / 1000)
                return []
            case FloorState.THINKING:
                return self._close_turn()
            case FloorState.HOLDING:
                return self._resume()
            case _:
                return []

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
        if self._voice is not None:
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
        if self._voice is not None:
            return self._open_turn(self._voice, reason) if self._item_id is None else self._back_to_person(reason)
        if self._item_id is not None and self._quiet is not None:
            self.deadline = max(now, self._quiet.at + self.rules.silence_ms / 1000)
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

    def _resume(self) -> list[Effect]:
        assert self._reply is not None
        closed = self._close_turn()
        self._quiet = None
        self._go(FloorState.SPEAKING, "short sound")
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
        if self._voice is not None and self._item_id is None:
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
                return self._yield("person speaks over the assistant", now)
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
