"""The conversation of one call: what is heard, typed, shown and answered, in the floor's order.

It joins the floor, the units that wait, the output and the model session. No sockets and no clock in here: the call
brings the time, a session port carries requests out, and `emit` carries events out. So a call replays in a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from model_server import protocol
from model_server.protocol import PictureItem, TextItem
from realtime import events
from realtime.dialogue.answering import Answering
from realtime.floor import events as floor
from realtime.floor.interruption import Sign, Sounding
from realtime.floor.rules import FloorRules, FloorState
from realtime.media.decoder import Samples
from realtime.media.hearing import Edge, Surroundings
from realtime.media.units import CutUnit

MAX_WAIT_UNITS = 10
"""Seconds of the person's speech that may wait for a reply to end; then the reply yields."""


class Dialogue(Answering):
    """One call's conversation: what is heard and asked, on top of what is answered."""

    # ---------------------------------------------------------------------------------------------- what is heard

    def edge(self, edge: Edge, now: float) -> None:
        """The person's speech started or stopped."""
        if edge.started:
            self._writing.held.voice_from(edge.position)
            self._floor_event(floor.SpeechStarted(edge.position, edge.at, edge.sounding), now)
        else:
            self._turns.silent(edge.at)
            self._floor_event(floor.SpeechStopped(edge.position, edge.at), now)

    def end_judged(self, position: int, odds: float, now: float) -> None:
        """A learned model's odds that the turn is over whose voice ended at `position`."""
        self._floor_event(floor.EndJudged(position, odds), now)

    def stirred(self, now: float) -> None:
        """The person may be beginning to speak."""
        if self._floor.state == FloorState.PERSON:
            self._floor_event(floor.Stirred(), now)

    def sign(self, sign: Sign, now: float) -> None:
        """The person may be beginning to speak over the assistant."""
        if self._floor.state in (FloorState.SPEAKING, FloorState.HOLDING):
            self._floor_event(sign, now)

    def surroundings(self, levels: Surroundings, now: float) -> None:
        """How loud echo and room are: where nobody can tell who speaks, the person is offered to tap instead."""
        if self._hands_free.feed(self._floor.usual_db, levels.echo_db, levels.room_db, now) and not self._manual:
            message = "It is loud here. Tapping when you want to speak works better."
            self._emit(events.SessionDegraded(reason="hands_free", message=message))

    def frame(self, samples: Samples, now: float) -> None:
        """The next samples that are heard, whatever they are."""
        if self.stop_words is not None:
            word = self.stop_words.feed(samples, held=self._floor.state == FloorState.HOLDING)
            if word is not None:
                self._floor_event(floor.Spotted(word), now)

    def sounding(self, sounding: Sounding, now: float) -> None:
        """What the voice that goes on sounds like."""
        self._floor_event(floor.Voice(sounding), now)

    def unit(self, unit: CutUnit, now: float) -> None:
        """A unit was closed; a voice that is not the person's makes it none of theirs."""
        self._writing.offer(replace(unit, voiced=False) if self._floor.ignores_voice else unit)
        if self._writing.held.speech_units >= MAX_WAIT_UNITS:
            self._cut_reason = "turn_detected"
            self._floor_event(floor.StopRequested("the person waited too long"), now)

    # ---------------------------------------------------------------------------------------------- what is asked

    def write(self, items: Sequence[TextItem | PictureItem], told: events.Item, now: float) -> bool:
        """The person typed or shows something, told as one item; false when too much waits already."""
        self.context_changes(now)
        if not self._writing.write(items):
            return False
        self._turns.added(told)
        return True

    def context_changes(self, now: float) -> None:
        """An answer must know what is written or set next: one that was guessed is none."""
        self._floor_event(floor.ContextChanges(), now)

    def set_rules(self, rules: FloorRules, now: float) -> None:
        """From now on turns are found by these rules."""
        self._manual = rules.manual
        self._floor_event(floor.RulesChange(rules), now)

    def commit(self, now: float) -> bool:
        """Push to talk: the person's turn is over, and answered when the client asks; false where voices decide."""
        if self._manual:
            self._floor_event(floor.Commit(self._cutter.end), now)
        return self._manual

    def clear_input(self) -> bool:
        """Push to talk: what was heard and not written yet never was; false where voices decide."""
        if self._manual:
            self._writing.clear()
            self._emit(events.InputCleared())
        return self._manual

    def active(self, now: float) -> None:
        """The person is there: they type."""
        self._floor_event(floor.Active(), now)

    def returned(self, item: protocol.Item) -> None:
        """A turn-based engine was in the middle of its reply and did not take `item`: it goes first afterwards."""
        self._writing.returned(item)

    def ask(self, now: float, *, say: str | None = None, instructions: str = "") -> bool:
        """An answer is wanted now; false while a response is active, which then goes on."""
        if self._floor.state in (FloorState.THINKING, FloorState.SPEAKING, FloorState.HOLDING):
            return False
        self._instructions = instructions
        if instructions:
            self.context_changes(now)
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
        taken = self.speaking.heard(ack.response_id, ack.played_ms, ack.final, now)
        if not taken:
            self._metrics.acks_ignored.inc()
        elif ack.final:
            self._floor_event(floor.Heard(ack.response_id, self.speaking.playout.heard_ms(ack.response_id, now)), now)
        self.tick(now)
