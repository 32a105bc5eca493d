"""One simulated call: a person, a page and a network around the gateway's own hearing, dialogue, floor and playout.

Nothing waits: a heap of events is the clock. The engine is a script (`replies`), everything between the microphone's
packet and the page's message is the gateway's real code.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np

from model_server.protocol import Capabilities, Reply
from realtime import events
from realtime.connection.frames import AudioMessage
from realtime.dialogue.dialogue import Dialogue
from realtime.events import PlaybackAck, ServerEvent
from realtime.floor.interruption import Sign, Sounding
from realtime.floor.rules import FloorRules, FloorState
from realtime.media.hearing import Edge, Hearing, HearingEvent, Stirred, UnitClosed
from realtime.media.receive import AudioPacket, AudioReceiver
from realtime.media.speech import SpeechDetector
from realtime.output.playout import Playout
from realtime.output.speaking import Speaking
from realtime.service.metrics import Metrics
from tests.bench.floor.conditions import Condition
from tests.bench.floor.kept import Places, WatchedCutter
from tests.bench.floor.links import Links
from tests.bench.floor.microphone import FRAME, Microphone, codec
from tests.bench.floor.page import STEP_S, Page
from tests.bench.floor.replies import ScriptedSession

Person = Generator[Callable[[], bool], None, None]
"""What the person does: yields what it waits for, looked at every 20 ms."""

SSRC = 7
RTP_FRAME = 960

TOLD: dict[type[ServerEvent], str] = {
    events.OutputPaused: "paused",
    events.OutputResumed: "resumed",
    events.OutputCleared: "cleared",
    events.Committed: "committed",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """The gateway told the page something at `at`; it came there at `there`. `of`: the response or the item."""

    at: float
    there: float
    kind: str
    of: str


class Simulation:
    """One call of at most `seconds`. `text` gives the assistant's next reply."""

    def __init__(
        self,
        condition: Condition,
        detector: SpeechDetector,
        rng: np.random.Generator,
        seconds: float,
        text: Callable[[], str],
        engine_s: float = 0.0,
    ) -> None:
        self.now = 0.0
        self.moments: list[Moment] = []
        self.first_sent: dict[str, float] = {}
        """When the first speech of each response left the gateway."""
        self.microphone = Microphone(condition, rng, seconds)
        self.page = Page(self._report)
        engine_s = engine_s or condition.engine_ms / 1000
        self.places = Places()
        self.session = ScriptedSession(text, lambda: self.now, self._say, engine_s, condition.marks, condition.spare)
        self._links = Links(condition, rng)
        self._seconds = seconds
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._numbers: dict[int, str] = {}
        self._encoder, decoder = codec(condition)
        self._hearing = Hearing(AudioReceiver(decoder, 0.0), detector, 0.0, lambda now: self._speaking.played(now))
        self._speaking = Speaking(self._emit, self._transmit, lambda number: None, Playout)
        self._speaking.playout.set_rtt(condition.rtt_ms)
        self.dialogue = Dialogue(
            Capabilities(engine="script", model="script"),
            self.session,
            self._speaking,
            self._emit,
            WatchedCutter(self._hearing.cutter, self.places),
            lambda prefix: f"{prefix}_{next(self._order)}",
            _rules(condition),
            Metrics(),
        )

    # ---------------------------------------------------------------------------------------------- what people see

    @property
    def idle(self) -> bool:
        """Whether nobody has the floor."""
        return self.dialogue.state == FloorState.IDLE

    def audible(self, response_id: str) -> list[tuple[float, int]]:
        """When which position of a response was heard, in steps of 10 ms."""
        track = self.page.track(response_id)
        return track.audible if track is not None else []

    def sounding(self) -> str | None:
        """The response that is heard now."""
        for track in self.page.tracks.values():
            if track.audible and self.now - track.audible[-1][0] < 2 * STEP_S:
                return track.response_id
        return None

    def told(self, kind: str, of: str, since: float, until: float) -> list[Moment]:
        """What the page was told of a response within a time of the gateway's."""
        return [each for each in self.moments if each.kind == kind and each.of == of and since <= each.at < until]

    # ---------------------------------------------------------------------------------------------- the clock

    def run(self, person: Person) -> None:
        """Play the call until the person has done everything, or time is over."""
        waits_for = next(person)
        steps = itertools.count(1)
        played = []
        for step in steps:
            at = step * STEP_S
            if at > self._seconds:
                return
            self._run_until(at)
            played.append(self.page.step(at))
            if step % 2:
                continue
            self._send(step // 2 - 1, np.concatenate(played))
            played.clear()
            while waits_for():
                try:
                    waits_for = next(person)
                except StopIteration:
                    return

    def _run_until(self, at: float) -> None:
        while True:
            while self._events and self._events[0][0] <= at:
                due = self._events[0][0]
                self._tick_until(due)
                self.now = max(self.now, due)
                heapq.heappop(self._events)[2]()
            self._tick_until(at)
            # What a deadline brought about at once still belongs before `at`.
            if not self._events or self._events[0][0] > at:
                break
        self.now = at

    def _tick_until(self, at: float) -> None:
        while (due := self._deadline()) < at:
            self.now = max(self.now, due)
            self._hear(self._hearing.tick(self.now))
            self.dialogue.tick(self.now)
            if self._deadline() <= due:
                return

    def _deadline(self) -> float:
        dialogue = self.dialogue.deadline
        return self._hearing.deadline if dialogue is None else min(dialogue, self._hearing.deadline)

    def _at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    # ---------------------------------------------------------------------------------------------- to the gateway

    def _send(self, number: int, played: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        payload = self._encoder.encode(self.microphone.capture(played))
        arrives = self._links.packet(self.now)
        if arrives is not None:
            packet = AudioPacket(SSRC, number & 0xFFFF, number * RTP_FRAME & 0xFFFF_FFFF, payload)
            self._at(arrives, lambda: self._arrived(packet, number))

    def _arrived(self, packet: AudioPacket, number: int) -> None:
        heard = self._hearing.packet(packet, self.now)
        if number == 0:
            self.places.shift = self._hearing.position - FRAME
        self._hear(heard)

    def _hear(self, heard: list[HearingEvent]) -> None:
        for event in heard:
            match event:
                case Edge():
                    self.dialogue.edge(event, self.now)
                case Sounding():
                    self.dialogue.sounding(event, self.now)
                case Sign():
                    self.dialogue.sign(event, self.now)
                case Stirred():
                    self.dialogue.stirred(self.now)
                case UnitClosed(unit, _):
                    self.dialogue.unit(self.places.note(unit), self.now)
                case _:
                    pass

    def _report(self, ack: PlaybackAck) -> None:
        self._at(self._links.up(self.now), lambda: self.dialogue.played(ack, self.now))

    def _say(self, when: float, reply: Reply) -> None:
        self._at(when, lambda: self.dialogue.reply(reply, self.now))

    # ---------------------------------------------------------------------------------------------- to the page

    def _transmit(self, message: AudioMessage) -> None:
        response_id = self._numbers[message.number]
        self.first_sent.setdefault(response_id, self.now)
        if message.number not in self.page.tracks:
            self.page.created(response_id, message.number, self.session.given[response_id].spoken.sound)
        self._at(self._links.speech(self.now), lambda: self.page.accept(message))

    def _emit(self, event: ServerEvent) -> None:
        if isinstance(event, events.ResponseCreated):
            self._numbers[event.number] = event.response.id
        kind = TOLD.get(type(event))
        if kind is None:
            return
        of = event.item_id if isinstance(event, events.Committed) else str(getattr(event, "response_id", ""))
        there = self._links.down(self.now)
        self.moments.append(Moment(self.now, there, kind, of))
        self._at(there, lambda: self._obey(kind, of, getattr(event, "from_ms", None)))

    def _obey(self, kind: str, response_id: str, from_ms: float | None) -> None:
        match kind:
            case "paused":
                self.page.pause(self.now)
            case "resumed":
                self.page.resume(response_id, from_ms, self.now)
            case "cleared":
                self.page.flush(response_id, self.now)
            case _:
                pass


def _rules(condition: Condition) -> FloorRules:
    if condition.silence_ms is None:
        rules = FloorRules(eagerness=condition.eagerness)
        return rules if condition.usual_ms is None else replace(rules, silence_ms=condition.usual_ms)
    return FloorRules(silence_ms=condition.silence_ms, eagerness="fixed")
