"""What happens to the floor, and what it decides: the events and effects of `floor.Floor`.

Times are seconds of one monotonic clock, positions samples of the call's 16 kHz audio, `*_ms` milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from realtime.floor.interruption import Sign, Sounding
from realtime.floor.rules import FloorRules

# --------------------------------------------------------------------------------------------------------------------
# What happened


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The detector hears a voice since sample `position`, which arrived at time `at`; what it sounds like so far."""

    position: int
    at: float
    sounding: Sounding | None = None


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The person's speech ended at sample `position`, or, more precisely, at time `at`."""

    position: int
    at: float
    judged: float = 1.0
    """A learned model's odds that the turn is over."""


@dataclass(frozen=True, slots=True)
class EndJudged:
    """A learned model's odds that the turn is over whose voice ended at `position`; late ones mean nothing."""

    position: int
    odds: float


@dataclass(frozen=True, slots=True)
class Voice:
    """What the person's voice sounds like by now, between its start and its stop."""

    sounding: Sounding


@dataclass(frozen=True, slots=True)
class Stirred:
    """Something that may be the person going on is heard; the detector will say so within `stirring_ms`, or not."""


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
    """Nothing more will come of the response: all of it was heard, it had no speech, or it failed.

    `asked`: it ended with a question.
    """

    response_id: str
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """The page's final word on a cleared response: `heard_ms` of it left the loudspeaker."""

    response_id: str
    heard_ms: float


@dataclass(frozen=True, slots=True)
class Spotted:
    """A keyword spotter knows what is being said over the assistant: a word that wants the floor, or surely none."""

    stop_word: bool


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The client wants silence now (`output_audio_buffer.clear`, `response.cancel`), or units waited too long."""

    reason: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """Whether the engine has room for work that may turn out to be for nothing."""

    spare: bool


@dataclass(frozen=True, slots=True)
class ContextChanges:
    """Something that an answer must know is about to be written besides the person's speech."""


@dataclass(frozen=True, slots=True)
class RulesChange:
    """From now on the floor decides by these rules."""

    rules: FloorRules


@dataclass(frozen=True, slots=True)
class Commit:
    """Push to talk: the person's turn ends at sample `position`."""

    position: int


@dataclass(frozen=True, slots=True)
class Active:
    """The person is there, though they say nothing: they type."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


FloorEvent = (
    SpeechStarted
    | SpeechStopped
    | Voice
    | Stirred
    | EndJudged
    | Sign
    | Spotted
    | ReplyRequested
    | ReplyStarted
    | FirstSound
    | ReplyOver
    | Heard
    | StopRequested
    | Capacity
    | ContextChanges
    | RulesChange
    | Commit
    | Active
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
class Guess:
    """The turn is probably over: cut the short unit and let the engine answer, unheard. Units are held from now on."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Discard:
    """The guess was wrong: it never was, and the short unit's samples go out again with those that follow."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Adopt:
    """A response that is there already, a native engine's or the guess, gets channel number `number`."""

    response_id: str
    number: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """The pause was taken too early: the reply never was, and turn `item_id` since sample `position` is open again."""

    response_id: str
    item_id: str
    position: int


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


Effect = (
    OpenTurn | EndTurn | StartReply | Guess | Discard | Adopt | TakeBack | Pause | Resume | Clear | Cancel | Release
)
