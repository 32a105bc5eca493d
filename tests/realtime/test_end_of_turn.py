"""How long a silence ends a turn: for short and long turns, and for people who pause shortly and long."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.floor.end_of_turn import LONGEST_MS, PATIENCE, SHORTEST_MS, USUAL_TURN_MS, Eagerness, EndOfTurn

LEVELS = get_args(Eagerness)
ADAPTING: tuple[Eagerness, ...] = ("high", "auto", "low")
TURNS = st.lists(st.floats(0, 1e6), max_size=12)
PAUSES = st.lists(st.floats(0, 1e6), max_size=12)
SPOKEN = st.floats(0, 1e6)
JUDGED = st.floats(1e-6, 1e6)


def person(
    spoken_ms: float = 0.0,
    *,
    stretches: int = 1,
    pauses_ms: list[float] | None = None,
    turns_ms: list[float] | None = None,
) -> EndOfTurn:
    """Somebody who has spoken for so long in this turn, in so many stretches, after such pauses and such turns."""
    ends = EndOfTurn()
    for turn_ms in turns_ms or []:
        ends.spoke(turn_ms)
        ends.began_anew()
    for pause_ms in pauses_ms or []:
        ends.went_on(pause_ms)
    for _ in range(stretches):
        ends.spoke(spoken_ms / stretches)
    return ends


@pytest.mark.parametrize(
    ("spoken_ms", "stretches", "least", "most"),
    [
        (600, 1, 810, 826),  # who has only just begun is waited for
        (2_600, 1, 740, 790),  # a turn of the usual length, said at once, may go on
        (9_000, 1, 500, 600),  # a very long one probably does not
        (3_000, 2, 580, 680),
        (4_500, 3, 500, 540),  # nor does one of several stretches
    ],
)
def test_the_silence_that_ends_a_stranger_s_turn(spoken_ms: float, stretches: int, least: float, most: float):
    assert least <= person(spoken_ms, stretches=stretches).silence_ms(500, "auto") <= most


def test_of_turns_as_long_as_usual_those_said_in_more_stretches_are_likelier_over():
    odds = [person(USUAL_TURN_MS, stretches=count).odds() for count in (1, 2, 3, 4)]
    assert odds[0] < 0.5 < 1 < odds[1] < odds[2] < odds[3]


def test_who_always_speaks_shortly_is_answered_sooner():
    assert person(1_200).silence_ms(500, "auto") > 780
    assert person(1_200, turns_ms=[1_000.0] * 50).silence_ms(500, "auto") < 680


def test_who_pauses_shortly_is_answered_sooner_and_who_pauses_long_is_waited_for():
    usual = person(4_000).silence_ms(500, "auto")
    assert person(4_000, pauses_ms=[150.0] * 12).silence_ms(500, "auto") < usual - 40
    assert person(4_000, pauses_ms=[1_200.0] * 12).silence_ms(500, "auto") > usual + 50


def test_a_turn_of_several_stretches_is_as_long_as_all_of_them():
    ends = person(1_500)
    ends.went_on(480)
    ends.spoke(1_500)
    assert (ends.spoken_ms, ends.stretches) == (3_000, 2)
    assert ends.odds() > person(3_000).odds()
    ends.began_anew()
    assert (ends.spoken_ms, ends.stretches) == (0, 0)


def test_who_always_says_everything_at_once_is_answered_sooner():
    at_once, usual = person(2_000, turns_ms=[2_000.0] * 10), person(2_000)
    assert at_once.silence_ms(500, "auto") < usual.silence_ms(500, "auto") - 80


def test_a_model_that_is_sure_outweighs_the_length():
    assert person(600).silence_ms(500, "auto", judged=1e9) == pytest.approx(500, abs=1)
    assert person(9_000).silence_ms(500, "auto", judged=1e-9) == pytest.approx(500 * PATIENCE, abs=1)


def test_a_fixed_silence_is_fixed():
    assert person(9_000, pauses_ms=[900.0] * 9).silence_ms(350, "fixed") == 350


def test_a_silence_set_beyond_the_bounds_is_meant():
    assert person(9_000).silence_ms(2_000, "auto") == pytest.approx(2_000, rel=0.01)
    assert 50 <= person(9_000).silence_ms(50, "high") <= 80


@given(SPOKEN, PAUSES, TURNS, JUDGED, st.sampled_from(LEVELS))
def test_nothing_leads_out_of_the_bounds(
    spoken_ms: float, pauses: list[float], turns: list[float], judged: float, eagerness: Eagerness
):
    ends = person(spoken_ms, pauses_ms=pauses, turns_ms=turns)
    assert SHORTEST_MS <= ends.silence_ms(500, eagerness, judged) <= LONGEST_MS


@given(SPOKEN, PAUSES, TURNS, JUDGED)
def test_the_eager_answer_no_later(spoken_ms: float, pauses: list[float], turns: list[float], judged: float):
    ends = person(spoken_ms, pauses_ms=pauses, turns_ms=turns)
    high, auto, low = (ends.silence_ms(500, eagerness, judged) for eagerness in ADAPTING)
    assert high <= auto <= low
    assert auto == ends.silence_ms(500, "medium", judged)


@given(st.lists(SPOKEN, min_size=2, max_size=2), PAUSES, TURNS, st.sampled_from(ADAPTING))
def test_whoever_has_spoken_longer_is_answered_no_later(
    spoken: list[float], pauses: list[float], turns: list[float], eagerness: Eagerness
):
    short, long = (person(each, pauses_ms=pauses, turns_ms=turns) for each in sorted(spoken))
    assert short.odds() <= long.odds()
    assert short.silence_ms(500, eagerness) >= long.silence_ms(500, eagerness)
