"""A voice over the assistant, where its pauses or its likeness to an echo decide what it is."""

from __future__ import annotations

import itertools

import pytest

from realtime.floor.events import (
    Clear,
    Effect,
    FirstSound,
    FloorEvent,
    OpenTurn,
    Pause,
    ReplyRequested,
    Resume,
    SpeechStarted,
    SpeechStopped,
    Tick,
    Voice,
)
from realtime.floor.floor import Floor
from realtime.floor.hold import GOES_ON_MS
from realtime.floor.interruption import STRANGER_DB, Sounding
from realtime.floor.rules import FloorRules

UNKNOWN_ECHO = Sounding(-30.0, -8.0, maybe_echo=True)
NO_ECHO = Sounding(-30.0, -8.0, maybe_echo=True, like_echo=False)
SOFT_ONE = Sounding(STRANGER_DB - 1, -8.0, maybe_echo=True, like_echo=False)
TWO_BEATS = Sounding(-33.0, -8.0, two_beats=True)


def speaking() -> Floor:
    """The assistant speaks since second 1; nothing is known of the person."""
    counters: dict[str, itertools.count[int]] = {}
    floor = Floor(FloorRules(), lambda prefix: f"{prefix}_{next(counters.setdefault(prefix, itertools.count(1)))}")
    play(floor, [(0.9, ReplyRequested()), (1.0, FirstSound("resp_1"))])
    return floor


def known() -> Floor:
    """The same, where the person's level is known: -30 dB."""
    floor = speaking()
    floor._turn.usual.db = -30.0
    return floor


def play(floor: Floor, script: list[tuple[float, FloorEvent]]) -> list[Effect]:
    return [effect for now, event in script for effect in floor.handle(event, now)]


def sound(start: float, end: float, what: Sounding) -> list[tuple[float, FloorEvent]]:
    """A sound as the detector tells of it."""
    return [
        (start + 0.1, SpeechStarted(int(start * 16_000), start, what)),
        (end, Voice(what)),
        (end + 0.2, SpeechStopped(int(end * 16_000), end)),
    ]


@pytest.mark.parametrize(("what", "yields"), [(UNKNOWN_ECHO, False), (NO_ECHO, True), (SOFT_ONE, False)])
def test_the_word_of_somebody_unknown_counts_unless_it_may_be_echo(what: Sounding, yields: bool) -> None:
    effects = play(speaking(), sound(1.3, 1.6, what))
    assert effects[0] == Pause("resp_1")
    assert isinstance(effects[1], Clear if yields else Resume)


@pytest.mark.parametrize(("what", "holds"), [(UNKNOWN_ECHO, False), (NO_ECHO, True)])
def test_while_an_echo_is_learned_a_voice_that_is_none_holds(what: Sounding, holds: bool) -> None:
    floor = speaking()
    play(floor, sound(1.3, 1.6, UNKNOWN_ECHO))
    effects = play(floor, sound(2.2, 2.5, what))
    assert (Pause("resp_1") in effects) == holds


@pytest.mark.parametrize(("pause_s", "yields"), [(GOES_ON_MS / 1000 - 0.1, True), (GOES_ON_MS / 1000 + 0.1, False)])
def test_who_pauses_for_a_breath_has_spoken_all_the_time(pause_s: float, yields: bool) -> None:
    floor = known()
    assert play(floor, sound(2.0, 2.9, TWO_BEATS)) == [Pause("resp_1"), Resume("resp_1")]
    effects = play(floor, sound(2.9 + pause_s, 3.5 + pause_s, TWO_BEATS))
    assert effects[0] == Pause("resp_1")
    assert any(isinstance(effect, OpenTurn) for effect in effects) == yields


@pytest.mark.parametrize(("what", "yields"), [(UNKNOWN_ECHO, True), (SOFT_ONE, False)])
def test_what_is_softer_than_people_are_has_to_last_to_be_somebody(what: Sounding, yields: bool) -> None:
    start = SpeechStarted(int(1.3 * 16_000), 1.3, what)
    effects = play(speaking(), [(1.4, start), (1.6, Tick()), (2.2, Voice(what)), (2.2, Tick())])
    assert (Clear("resp_1") in effects) == yields


def test_a_cough_twice_is_nothing_said() -> None:
    floor, cough = known(), Sounding(-28.0, -1.0)
    for start in (2.0, 3.0):
        assert play(floor, sound(start, start + 0.9, cough)) == [Pause("resp_1"), Resume("resp_1")]


def test_a_sound_that_is_surely_softer_than_the_person_is_not_theirs() -> None:
    floor = known()
    assert play(floor, sound(2.0, 2.3, Sounding(-33.0, -8.0, maybe_echo=True, sure_db=-45.0))) == []
    assert Clear("resp_1") in play(floor, sound(3.0, 3.3, Sounding(-33.0, -8.0, maybe_echo=True, sure_db=-37.0)))
