"""The person's side of the floor: their voice, their turn, and what is known of how they speak. Sans-I/O.

Knows nothing of replies. Times are seconds of one monotonic clock, positions samples of the call's 16 kHz audio,
`*_ms` milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from model_server.protocol import HEARING_RATE
from realtime.floor.end_of_turn import EndOfTurn
from realtime.floor.events import Effect, EndTurn, OpenTurn, SpeechStarted, SpeechStopped
from realtime.floor.interruption import Meaning, Sounding, UsualLevel
from realtime.floor.rules import FloorRules

FRESH_MS = 100.0
"""A voice is noticed within so long of its start."""

REPAIR_MS = 1_200.0
"""A person who speaks over a reply so soon after the end of their turn was going on: that was a pause."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of the person: its item, and the sample at which it began."""

    item_id: str
    position: int


class PersonsTurn:
    """The turn that is open, if any, and the voice that is heard, the person's or not."""

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self.current: Turn | None = None
        """The turn that is open."""
        self.voice: SpeechStarted | None = None
        """The voice that is heard now."""
        self.quiet: SpeechStopped | None = None
        """The end of the latest voice, while what follows from it is not decided."""
        self.ended: SpeechStopped | None = None
        """The end of the person's latest speech, until they go on."""
        self.usual = UsualLevel()
        self.sounding: Sounding | None = None
        """What the voice that goes on, or the latest one, sounds like."""
        self._ends = EndOfTurn()
        self._new_id = new_id

    @property
    def item_id(self) -> str | None:
        """The open turn's item, None while there is none."""
        return self.current.item_id if self.current is not None else None

    @property
    def is_the_person(self) -> bool:
        """Whether the voice that is heard may be the person's, as far as it is known."""
        return self.usual.meaning(self.sounding) is not Meaning.NOT_THE_PERSON

    @property
    def may_be_echo(self) -> bool:
        """Whether the voice may be the assistant's own: nothing is known of the person's, nor of an echo."""
        return self.usual.db is None and self.sounding is not None and self.sounding.maybe_echo

    def voice_started(self, event: SpeechStarted) -> None:
        """A voice is heard."""
        self.voice, self.quiet, self.sounding = event, None, event.sounding

    def voice_stopped(self, event: SpeechStopped) -> SpeechStarted | None:
        """The voice is heard no more; returns its start, None when there was none."""
        if self.voice is None:
            return None
        began, self.voice, self.quiet = self.voice, None, event
        return began

    def paused(self, began: SpeechStarted, event: SpeechStopped) -> None:
        """The person spoke in their turn and fell silent: it may be over."""
        self._ends.spoke(1000 * (event.at - began.at))
        self.ended = event

    def learn_level(self) -> None:
        """The person spoke, with the floor: so loud they usually are."""
        if self.sounding is not None and not self.sounding.maybe_echo:
            self.usual.learn(self.sounding)

    def freshen(self, now: float) -> SpeechStarted:
        """A voice that was ignored so far begins to be the person's only now."""
        assert self.voice is not None
        at = max(self.voice.at, now - FRESH_MS / 1000)
        later = round((at - self.voice.at) * HEARING_RATE)
        self.voice = replace(self.voice, at=at, position=self.voice.position + later)
        return self.voice

    def open(self, event: SpeechStarted) -> list[Effect]:
        """The person takes the floor."""
        if self.ended is not None and self.silent_ms(event) > REPAIR_MS:
            self._ends.began_anew()
        self.current = Turn(self._new_id("item"), event.position)
        return [OpenTurn(self.current.item_id, event.position)]

    def close(self) -> list[Effect]:
        """The person's turn, if one is open and they fell silent, is complete."""
        if self.current is None or self.quiet is None:
            return []
        ended = EndTurn(self.current.item_id, self.quiet.position)
        self.current = self.quiet = None
        return [ended]

    def commit(self, position: int) -> list[Effect]:
        """The person says that their turn ends at `position`."""
        turn = self.current or Turn(self._new_id("item"), position)
        self.current = self.quiet = None
        return [EndTurn(turn.item_id, position)]

    def turn_over_at(self, quiet: SpeechStopped, now: float, rules: FloorRules) -> float:
        """When a turn whose voice stopped at `quiet` is over."""
        silence_ms = self._ends.silence_ms(rules.silence_ms, rules.eagerness, quiet.judged)
        return max(now, quiet.at + silence_ms / 1000)

    def note_pause(self, event: SpeechStarted) -> None:
        """The person goes on: how long they paused says how long to wait next time."""
        if self.ended is not None:
            self._ends.went_on(self.silent_ms(event))
            self.ended = None

    def silent_ms(self, event: SpeechStarted) -> float:
        """How long the person was silent before they spoke at `event`; infinite when they never spoke."""
        if self.ended is None:
            return float("inf")
        return 1000 * (event.at - self.ended.at)
