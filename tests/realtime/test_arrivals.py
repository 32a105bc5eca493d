"""How late a frame is, against the promptest: bursts, slower lines, clocks that drift."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.media.arrivals import JOLT_S, LATEST_S, SHAKEN_S, Arrivals

FRAME_S = 0.02


def lateness(delays: list[float]) -> list[float]:
    arrivals = Arrivals()
    frames = [(FRAME_S * number, FRAME_S * number + delay) for number, delay in enumerate(delays)]
    return [arrivals.late_s(captured, now) for captured, now in frames]


def test_a_steady_line_is_never_late() -> None:
    assert lateness([0.1] * 100) == pytest.approx([0.0] * 100, abs=1e-9)


def test_a_burst_is_as_late_as_it_waited() -> None:
    late = lateness([0.05] * 50 + [0.05 + 0.2 - FRAME_S * number for number in range(11)] + [0.05] * 5)
    assert late[50] == pytest.approx(0.2, abs=0.01)
    assert late[-1] == pytest.approx(0.0, abs=0.02)


def test_a_line_that_became_slower_is_the_usual_one_after_a_while() -> None:
    late = lateness([0.05] * 10 + [0.15] * 500)
    assert late[10] == pytest.approx(0.1, abs=0.005)
    assert late[-1] == pytest.approx(0.0, abs=0.005)


def test_only_a_jolt_shakes_and_not_for_ever() -> None:
    arrivals = Arrivals()
    arrivals.late_s(0.0, 10.0)
    arrivals.late_s(1.0, 11.0 + JOLT_S / 2)
    assert not arrivals.shaken(11.0)
    arrivals.late_s(2.0, 12.0 + 2 * JOLT_S)
    assert arrivals.shaken(12.0 + SHAKEN_S)
    assert not arrivals.shaken(12.2 + SHAKEN_S)


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60))
def test_lateness_stays_within_its_bounds(delays: list[float]) -> None:
    assert all(0.0 <= late <= LATEST_S for late in lateness(delays))
