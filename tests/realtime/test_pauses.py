"""How long a silence ends a turn, for people who pause shortly, as usual, and long."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.pauses import LONGEST_MS, SHORTEST_MS, USUAL_MS, Eagerness, PauseStatistics

LEVELS = get_args(Eagerness)


def person(*pauses_ms: float) -> PauseStatistics:
    statistics = PauseStatistics()
    for pause_ms in pauses_ms:
        statistics.went_on(pause_ms)
    return statistics


def test_a_stranger_gets_the_silence_that_is_set():
    assert person().middle_ms == pytest.approx(USUAL_MS)
    assert person().silence_ms(500, "auto") == pytest.approx(500)
    assert person().silence_ms(500, "high") == pytest.approx(300)
    assert person().silence_ms(500, "low") == pytest.approx(750)


def test_short_pauses_are_answered_sooner_and_long_ones_later():
    assert person(*[150.0] * 12).silence_ms(500, "auto") < 400
    assert person(*[800.0] * 12).silence_ms(500, "auto") == pytest.approx(750)


def test_one_long_pause_changes_less_than_many():
    once, often = (person(*[900.0] * count).silence_ms(500, "low") for count in (1, 6))
    assert 500 * 1.5 < once <= often == LONGEST_MS


def test_a_fixed_silence_is_fixed():
    assert person(*[900.0] * 9).silence_ms(500, "fixed") == 500


def test_a_silence_set_beyond_the_bounds_is_meant():
    assert person().silence_ms(2_000, "auto") == pytest.approx(2_000)
    assert person(*[100.0] * 50).silence_ms(50, "high") == pytest.approx(30, abs=25)


@given(st.lists(st.floats(0, 1e6), max_size=30), st.sampled_from(LEVELS))
def test_no_pause_leads_out_of_the_bounds(pauses_ms: list[float], eagerness: Eagerness):
    assert SHORTEST_MS <= person(*pauses_ms).silence_ms(500, eagerness) <= LONGEST_MS
