"""A question that nobody answers is asked about once, and only where an operator wants it."""

from __future__ import annotations

import itertools

import pytest

from realtime.floor.events import (
    Active,
    Effect,
    EndTurn,
    FirstSound,
    FloorEvent,
    Release,
    ReplyOver,
    ReplyRequested,
    SpeechStarted,
    SpeechStopped,
    StartReply,
    Tick,
)
from realtime.floor.floor import Floor
from realtime.floor.rules import FloorRules, FloorState


def asked_floor(**rules: object) -> Floor:
    """A floor whose assistant has just asked a question, at 2 s."""
    counters: dict[str, itertools.count[int]] = {}
    floor = Floor(
        FloorRules(**{"idle_prompt_ms": 12_000.0, "eagerness": "fixed", **rules}),  # type: ignore[arg-type]
        lambda prefix: f"{prefix}_{next(counters.setdefault(prefix, itertools.count(1)))}",
    )
    play(floor, [(1.0, ReplyRequested("Hello?")), (1.1, FirstSound("resp_1")), (2.0, ReplyOver("resp_1", asked=True))])
    return floor


def play(floor: Floor, script: list[tuple[float, FloorEvent]]) -> list[Effect]:
    return [effect for now, event in script for effect in floor.handle(event, now)]


def test_who_says_nothing_is_asked_once():
    floor = asked_floor()
    assert floor.deadline == pytest.approx(14.0)
    assert play(floor, [(13.9, Tick())]) == []
    assert play(floor, [(14.0, Tick())]) == [StartReply("resp_2", 2, "Are you still there?")]
    assert play(floor, [(14.1, FirstSound("resp_2")), (15.0, ReplyOver("resp_2", asked=True))]) == [Release()]
    assert floor.deadline is None
    assert floor.state == FloorState.IDLE


def test_it_is_off_unless_it_is_set():
    assert asked_floor(idle_prompt_ms=0.0).deadline is None


def test_a_statement_waits_for_nobody():
    floor = asked_floor()
    play(floor, [(3.0, ReplyRequested("Good.")), (3.1, FirstSound("resp_2")), (4.0, ReplyOver("resp_2"))])
    assert floor.deadline is None


def test_who_types_has_all_the_time_again():
    floor = asked_floor()
    assert play(floor, [(13.0, Active()), (14.0, Tick()), (24.9, Tick())]) == []
    assert floor.deadline == pytest.approx(25.0)


def test_who_speaks_is_not_asked():
    floor = asked_floor()
    started, stopped = SpeechStarted(208_000, 13.0), SpeechStopped(256_000, 16.0)
    effects = play(floor, [(13.1, started), (14.0, Tick()), (16.1, stopped), (16.5, Tick())])
    assert [type(effect) for effect in effects][1:] == [EndTurn, StartReply]
    assert effects[-1] == StartReply("resp_2", 2)


def test_who_was_there_since_may_be_asked_again():
    floor = asked_floor()
    play(floor, [(14.0, Tick()), (14.1, FirstSound("resp_2")), (15.0, ReplyOver("resp_2", asked=True))])
    play(floor, [(20.1, SpeechStarted(320_000, 20.0)), (21.1, SpeechStopped(336_000, 21.0)), (22.0, Tick())])
    play(floor, [(22.1, FirstSound("resp_3")), (23.0, ReplyOver("resp_3", asked=True))])
    assert floor.deadline == pytest.approx(35.0)
