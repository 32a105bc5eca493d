"""The assistant's side of the floor: replies asked for, begun, over or taken back. Sans-I/O.

`Replies` is what `floor.Floor` stands on: the state, the person's turn, and the one response that is alive.
"""

from __future__ import annotations

from collections.abc import Callable

from realtime.floor.events import (
    Adopt,
    Cancel,
    Discard,
    Effect,
    Guess,
    Release,
    ReplyRequested,
    SpeechStarted,
    SpeechStopped,
    StartReply,
    TakeBack,
)
from realtime.floor.rules import FloorRules, FloorState
from realtime.floor.turn import PersonsTurn, Turn

GUESS_MS = 200.0
GUESS_SHARE = 0.4
"""A turn is probably over after so much silence: this long, and this share of what ends it."""

LogTransition = Callable[[FloorState, FloorState, str], None]


class Replies:
    """The one response that is alive, between the turns of the person."""

    def __init__(self, rules: FloorRules, new_id: Callable[[str], str], log: LogTransition) -> None:
        self.rules = rules
        self.state = FloorState.IDLE
        self.generation = 0
        """Grows with every response: what carries an older number is stale."""
        self._new_id = new_id
        self._log = log
        self._turn = PersonsTurn(new_id)
        self._due: float | None = None
        """When the present state is over, None while it waits for no time."""
        self._reply: str | None = None
        self._answers: Turn | None = None
        """The turn that the reply answers, where it was asked for by the end of one."""
        self._wanted: ReplyRequested | None = None
        self._guess: str | None = None
        """A reply to the turn that is probably over; nobody has heard of it."""
        self._guess_at: float | None = None
        self._spare = False
        self._may_prompt = True
        """Whether the person has been there since they were last asked whether they are."""

    @property
    def response_id(self) -> str | None:
        """The one response that is alive, None when there is none."""
        return self._reply

    @property
    def deadline(self) -> float | None:
        """When `Tick` is due, None while nothing waits for time."""
        return min((at for at in (self._due, self._guess_at) if at is not None), default=None)

    # ---------------------------------------------------------------------------------------------- after a turn

    def _turn_over_at(self, quiet: SpeechStopped, now: float) -> float:
        return self._turn.turn_over_at(quiet, now, self.rules)

    def _await_end(self, quiet: SpeechStopped, now: float) -> None:
        """The person fell silent in their turn: it is over soon, and may be answered unheard even sooner."""
        self._due = self._turn_over_at(quiet, now)
        likely = quiet.at + max(GUESS_MS / 1000, GUESS_SHARE * (self._due - quiet.at))
        may_guess = self.rules.speculative and not self.rules.native and self._spare and self._wanted is None
        self._guess_at = likely if may_guess and self._guess is None and max(likely, now) < self._due else None

    def _open_turn(self, event: SpeechStarted, reason: str) -> list[Effect]:
        self._may_prompt = True
        self._go(FloorState.PERSON, reason)
        return self._turn.open(event)

    def _end_turn(self, now: float) -> list[Effect]:
        answered, closed = self._turn.current, self._turn.close()
        if self.rules.native:
            self._go(FloorState.IDLE, "silence")
            return closed
        wanted = self._wanted or ReplyRequested()
        begun = self._start_reply(wanted, "silence", now) if self._guess is None else self._keep_guess(now)
        self._answers = answered
        return closed + begun

    def _take_back(self, event: SpeechStarted) -> list[Effect]:
        """The person goes on before the first sound: the pause was taken too early, the turn stays one turn."""
        if self._answers is not None and self._turn.current is None:
            return self._reopen("person goes on")
        effects: list[Effect] = [Cancel(self._drop_reply(), 0), Release()]
        if self._turn.current is None:
            return effects + self._open_turn(event, "person goes on")
        return effects + self._back_to_person("person goes on")

    def _reopen(self, reason: str) -> list[Effect]:
        """The reply never was; the turn it answered is open again."""
        assert self._answers is not None
        self._turn.current = turn = self._answers
        taken_back = TakeBack(self._drop_reply(), turn.item_id, turn.position)
        return [taken_back, Release(), *self._back_to_person(reason)]

    # ---------------------------------------------------------------------------------------------- the guess

    def _guess_reply(self) -> list[Effect]:
        """The turn is probably over: let the engine begin, unheard."""
        self._guess_at, self._guess = None, self._new_id("resp")
        return [Guess(self._guess)]

    def _keep_guess(self, now: float) -> list[Effect]:
        """The turn is over: what was guessed is the reply."""
        self._reply, self._guess = self._guess, None
        assert self._reply is not None
        self._wanted = None
        self.generation += 1
        self._think("silence", now)
        return [Adopt(self._reply, self.generation)]

    def _drop_guess(self) -> list[Effect]:
        """It answers what is not all of the question."""
        guess, self._guess, self._guess_at = self._guess, None, None
        return [] if guess is None else [Discard(guess), Release()]

    # ---------------------------------------------------------------------------------------------- the reply

    def _reply_requested(self, event: ReplyRequested, now: float) -> list[Effect]:
        self._may_prompt = self._may_prompt or event.say is None
        match self.state:
            case FloorState.IDLE:
                return self._start_reply(event, "asked", now)
            case FloorState.PERSON | FloorState.YIELDING if event.say is not None:
                pass  # The person has begun: what was to be said by rote has lost its moment.
            case FloorState.PERSON if self._turn.voice is None:
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
        return [*self._turn.close(), Adopt(response_id, self.generation)]

    def _think(self, reason: str, now: float) -> None:
        self._go(FloorState.THINKING, reason)
        self._due = now + self.rules.thinking_ms / 1000

    def _reply_over(self, response_id: str, asked: bool, now: float) -> list[Effect]:
        if response_id == self._guess:
            return self._drop_guess()
        if not self._is_current(response_id) or self.state == FloorState.YIELDING:
            return []
        self._drop_reply()
        effects = [Release(), *self._after_reply("all heard", now)]
        if asked and self.state == FloorState.IDLE:
            self._await_answer(now)
        return effects

    def _after_reply(self, reason: str, now: float) -> list[Effect]:
        """The reply is gone: the floor is the person's if they speak or just spoke, else nobody's."""
        turn = self._turn
        if turn.voice is not None and (turn.current is not None or turn.is_the_person):
            return self._open_turn(turn.voice, reason) if turn.current is None else self._back_to_person(reason)
        if turn.current is not None and turn.quiet is not None:
            self._back_to_person(reason)
            self._await_end(turn.quiet, now)
            return []
        turn.quiet = turn.current = None
        self._go(FloorState.IDLE, reason)
        return self._start_reply(self._wanted, "asked", now) if self._wanted else []

    # ---------------------------------------------------------------------------------------------- nobody answers

    def _await_answer(self, now: float) -> None:
        """A question was asked: who says nothing is asked once more, but not again before they were there."""
        if self.rules.idle_prompt_ms > 0 and self._may_prompt:
            self._due = now + self.rules.idle_prompt_ms / 1000

    def _is_active(self, now: float) -> list[Effect]:
        """The person is there: they have all the time again."""
        self._may_prompt = True
        if self.state == FloorState.IDLE and self._due is not None:
            self._await_answer(now)
        return []

    def _prompt(self, now: float) -> list[Effect]:
        self._may_prompt = False
        return self._start_reply(ReplyRequested(self.rules.idle_prompt), "nobody answers", now)

    # ---------------------------------------------------------------------------------------------- bookkeeping

    def _back_to_person(self, reason: str) -> list[Effect]:
        self._go(FloorState.PERSON, reason)
        return []

    def _is_current(self, response_id: str) -> bool:
        return self._reply == response_id

    def _drop_reply(self) -> str:
        assert self._reply is not None
        response_id, self._reply, self._answers = self._reply, None, None
        return response_id

    def _go(self, state: FloorState, reason: str) -> None:
        self._due = self._guess_at = None
        if state != self.state:
            self._log(self.state, state, reason)
        self.state = state
