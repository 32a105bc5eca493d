"""What is usual, from a guess and from what was observed."""

from __future__ import annotations

import pytest

from realtime.floor.habit import Habit


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
