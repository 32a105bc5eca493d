"""What is usual, from a guess and from what was observed."""

from __future__ import annotations

import pytest

from realtime.floor.habit import STRANGER, Habit, Stretches


def test_the_guess_holds_until_something_is_known():
    assert Habit(480, 3, (50, 3_000)).middle == pytest.approx(480)


def test_one_observation_moves_it_less_than_many():
    once, often = Habit(400, 3, (50, 3_000)), Habit(400, 3, (50, 3_000))
    once.learn(800)
    for _ in range(30):
        often.learn(800)
    assert 400 < once.middle < often.middle < 800
    assert once.middle == pytest.approx(400 * 2 ** (1 / 4))


def test_what_is_beyond_the_bounds_counts_as_the_bound():
    wild, bound = Habit(400, 3, (50, 3_000)), Habit(400, 3, (50, 3_000))
    wild.learn(1e9)
    bound.learn(3_000)
    assert wild.middle == bound.middle


def test_the_more_stretches_a_stranger_s_turn_has_the_likelier_it_is_over():
    stretches = Stretches()
    odds = [stretches.log_odds(count) for count in (1, 2, 3, 10)]
    assert odds[0] == pytest.approx(STRANGER)
    assert odds == sorted(odds)


def test_after_how_many_stretches_a_turn_ends_is_learned_for_each_number():
    stretches = Stretches()
    first, second = stretches.log_odds(1), stretches.log_odds(2)
    for _ in range(10):
        stretches.went_on(1)
        stretches.ended(2)
    assert stretches.log_odds(1) < first
    assert stretches.log_odds(2) > second
    assert stretches.log_odds(3) == Stretches().log_odds(3)
