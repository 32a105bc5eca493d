"""What no sequence of events, however mad, may bring about: on the floor alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.floor.events import (
    Active,
    Adopt,
    Cancel,
    Capacity,
    Clear,
    Commit,
    ContextChanges,
    Discard,
    Effect,
    EndTurn,
    FirstSound,
    FloorEvent,
    Guess,
    Heard,
    OpenTurn,
    Pause,
    Release,
    ReplyOver,
    ReplyRequested,
    ReplyStarted,
    Resume,
    RulesChange,
    SpeechStarted,
    SpeechStopped,
    StartReply,
    Stirred,
    StopRequested,
    TakeBack,
    Tick,
    Voice,
)
from realtime.floor.floor import Floor
from realtime.floor.interruption import Sounding
from realtime.floor.rules import FloorRules, FloorState


@dataclass
class Watch:
    """Follows the effects, and refuses those that may not be."""

    native: bool
    alive: set[str] = field(default_factory=set)
    guessed: str | None = None
    over: set[str] = field(default_factory=set)
    open_items: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    holding: bool = False
    numbers: list[int] = field(default_factory=list)
    pushed: bool = False
    """Push to talk was on at some time: it lets go of turns that were open, and ends turns that nobody saw begin."""

    def ended_by_itself(self, response_id: str) -> None:
        self.alive.discard(response_id)

    def see(self, effect: Effect) -> None:
        match effect:
            case StartReply(response_id, number) | Adopt(response_id, number):
                self._begins(response_id, number)
                self.holding = not self.native
            case Guess(response_id):
                assert not self.alive
                assert self.guessed is None
                self.guessed, self.holding = response_id, True
            case Discard(response_id):
                assert response_id == self.guessed
                self.guessed = None
                self.over.add(response_id)
            case Cancel(response_id) | TakeBack(response_id):
                self._ends(response_id)
                if isinstance(effect, TakeBack):
                    assert effect.item_id in self.ended
                    self.ended.remove(effect.item_id)
                    self.open_items.add(effect.item_id)
            case Pause(response_id) | Resume(response_id) | Clear(response_id):
                assert response_id in self.alive
            case OpenTurn(item_id):
                assert not self.open_items or self.pushed
                assert item_id not in self.ended
                self.open_items.add(item_id)
            case EndTurn(item_id):
                assert item_id in self.open_items or self.pushed
                self.open_items.discard(item_id)
                self.ended.add(item_id)
            case Release():
                self.holding = False

    def _begins(self, response_id: str, number: int) -> None:
        assert not self.alive
        assert response_id not in self.over
        assert self.guessed in (None, response_id)
        assert not self.numbers or number > self.numbers[-1]
        self.numbers.append(number)
        self.guessed = None
        self.alive.add(response_id)

    def _ends(self, response_id: str) -> None:
        assert response_id not in self.over
        self.alive.discard(response_id)
        self.over.add(response_id)

    def check(self, floor: Floor) -> None:
        """Between two events: one response at most, every wait with a time, and nobody unheard."""
        assert self.alive == ({floor.response_id} if floor.response_id else set())
        assert self.guessed is None or floor.state == FloorState.PERSON
        if floor.state in (FloorState.IDLE, FloorState.PERSON):
            assert floor.response_id is None
            assert self.holding == (self.guessed is not None)
        else:
            assert floor.response_id is not None
        waits = {FloorState.THINKING, FloorState.HOLDING, FloorState.YIELDING}
        if floor.state != FloorState.IDLE or not floor.rules.idle_prompt_ms:
            assert (floor.deadline is not None) == (
                floor.state in waits or (floor.state == FloorState.PERSON and not floor.person_speaks)
            )


MAKE: dict[str, Callable[[Floor, float], FloorEvent]] = {
    "loud": lambda floor, now: Voice(Sounding(-20, -8)),
    "soft": lambda floor, now: Voice(Sounding(-25, -8)),
    "far": lambda floor, now: Voice(Sounding(-40, -8)),
    "stir": lambda floor, now: Stirred(),
    "start": lambda floor, now: SpeechStarted(int(now * 16_000), now),
    "late_start": lambda floor, now: SpeechStarted(int((now - 0.4) * 16_000), now - 0.4),
    "stop": lambda floor, now: SpeechStopped(int(now * 16_000), now),
    "ask": lambda floor, now: ReplyRequested(),
    "say": lambda floor, now: ReplyRequested("hello"),
    "sound": lambda floor, now: FirstSound(floor.response_id or "none"),
    "over": lambda floor, now: ReplyOver(floor.response_id or "none"),
    "asked": lambda floor, now: ReplyOver(floor.response_id or "none", asked=True),
    "push": lambda floor, now: RulesChange(replace(floor.rules, manual=not floor.rules.manual)),
    "commit": lambda floor, now: Commit(int(now * 16_000)),
    "active": lambda floor, now: Active(),
    "heard": lambda floor, now: Heard(floor.response_id or "none", 100),
    "heard_more": lambda floor, now: Heard(floor.response_id or "none", 900),
    "tap": lambda floor, now: StopRequested("tap"),
    "tick": lambda floor, now: Tick(),
    "due": lambda floor, now: Tick(),
    "stale_sound": lambda floor, now: FirstSound("resp_0"),
    "stale_heard": lambda floor, now: Heard("resp_0", 5),
    "stale_over": lambda floor, now: ReplyOver("resp_0"),
    "room": lambda floor, now: Capacity(True),
    "no_room": lambda floor, now: Capacity(False),
    "typed": lambda floor, now: ContextChanges(),
    "failed_guess": lambda floor, now: ReplyOver("the guess"),
    "native": lambda floor, now: ReplyStarted("a new one"),
}


def make_floor(*, native: bool, idle_prompt_ms: float = 0.0) -> Floor:
    counters: dict[str, itertools.count[int]] = {}
    return Floor(
        FloorRules(native=native, idle_prompt_ms=idle_prompt_ms),
        lambda prefix: f"{prefix}_{next(counters.setdefault(prefix, itertools.count(1)))}",
    )


PHRASES = (
    "start stop",
    "start stop due",
    "start stop due start stop due",
    "start stop due due sound",
    "start stop due due sound late_start loud due heard",
    "start stop due due sound start loud due",
    "start soft stop due due sound start soft stop",
    "ask sound over",
    "ask sound asked due sound asked due",
    "native sound",
)
"""What usually happens, so that the rare is tried from everywhere."""

PHRASE = st.one_of(st.sampled_from(sorted(MAKE)), st.sampled_from(PHRASES))
WAIT = st.sampled_from([0.0, 0.02, 0.1, 0.25, 0.6, 1.5])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(PHRASE, WAIT), max_size=30), st.sampled_from([False, False, True]), st.sampled_from([0, 900]))
def test_no_sequence_of_events_breaks_the_floor(
    phrases: list[tuple[str, float]], native: bool, idle_prompt_ms: float
) -> None:
    floor, watch, now = make_floor(native=native, idle_prompt_ms=idle_prompt_ms), Watch(native), 0.0
    natives = itertools.count()
    for kind, wait in [("room", 0.0), *((kind, wait) for phrase, wait in phrases for kind in phrase.split())]:
        now = max(now, floor.deadline or 0.0) if kind == "due" else now + wait
        event = MAKE[kind](floor, now)
        if isinstance(event, ReplyStarted):
            event = ReplyStarted(f"n{next(natives)}")
        if kind == "failed_guess":
            event = ReplyOver(watch.guessed or "none")
        if (isinstance(event, ReplyStarted) and not native) or (isinstance(event, Commit) and not floor.rules.manual):
            continue
        if isinstance(event, ReplyOver) and floor.state != FloorState.YIELDING:
            watch.ended_by_itself(event.response_id)
        if isinstance(event, RulesChange):
            watch.pushed = True
        for effect in floor.handle(event, now):
            watch.see(effect)
        watch.check(floor)
    # Left alone, every floor comes to rest and listens again.
    ending: list[FloorEvent] = [SpeechStopped(0, now), RulesChange(replace(floor.rules, manual=False))]
    for _ in range(12):
        for event in ending:
            for effect in floor.handle(event, now):
                watch.see(effect)
        ending = [ReplyOver(floor.response_id)] if floor.response_id and floor.state == FloorState.SPEAKING else []
        for event in ending:
            watch.ended_by_itself(event.response_id)  # type: ignore[union-attr]
        if floor.deadline is not None:
            now = max(now, floor.deadline)
            ending.append(Tick())
    assert floor.state == FloorState.IDLE
    assert floor.deadline is None
    assert watch.guessed is None
    assert not watch.open_items or watch.pushed
    assert not watch.holding
