"""The loudspeaker by the page's reports: it moves when they say so, and stands when the page was told to."""

from __future__ import annotations

import pytest

from realtime.output.loudspeaker import BEGINS_S, CARRY_S, LATER_S, Loudspeaker

MS = 24
"""Samples."""


def reported(*reports: tuple[float, float], round_trip_s: float = 0.0) -> Loudspeaker:
    """Positions in ms, and when they came."""
    loudspeaker = Loudspeaker(round_trip_s)
    for position_ms, now in reports:
        loudspeaker.report(position_ms * MS, now)
    return loudspeaker


def ms(loudspeaker: Loudspeaker, now: float) -> float:
    return loudspeaker.at(now) / MS


def test_it_begins_when_pages_usually_do() -> None:
    loudspeaker = Loudspeaker(0.05)
    loudspeaker.begin(1.0)
    assert ms(loudspeaker, 1.05 + BEGINS_S) == 0
    assert ms(loudspeaker, 1.09 + BEGINS_S) == pytest.approx(40)
    assert ms(loudspeaker, 9.0) == pytest.approx(1000 * CARRY_S)


def test_it_begins_later_where_a_report_says_that_it_has_not_begun() -> None:
    loudspeaker = Loudspeaker()
    loudspeaker.begin(0.0)
    for now in (0.08, 0.12, 0.16):
        loudspeaker.report(0, now)
    assert ms(loudspeaker, 0.16 + LATER_S) == 0
    assert ms(loudspeaker, 0.2 + LATER_S) == pytest.approx(40)
    loudspeaker.report(30 * MS, 0.21)
    assert ms(loudspeaker, 0.23) == pytest.approx(50)


def test_it_stands_until_a_report_says_that_it_moves() -> None:
    assert ms(reported((0, 0.0), (0, 0.04)), 0.08) == 0
    assert ms(reported((0, 0.0), (30, 0.04)), 0.08) == pytest.approx(70)


@pytest.mark.parametrize(("position_ms", "expected_ms"), [(140, 160), (115, 115), (100, 100)])
def test_a_report_that_hardly_goes_on_says_that_it_stands(position_ms: float, expected_ms: float) -> None:
    assert ms(reported((60, 0.0), (100, 0.04), (position_ms, 0.08)), 0.1) == pytest.approx(expected_ms)


def test_without_reports_it_stands_after_a_while() -> None:
    assert ms(reported((0, 0.0), (40, 0.04)), 9.0) == pytest.approx(40 + 1000 * CARRY_S)


def test_reports_that_were_stuck_come_at_once_and_the_last_one_counts() -> None:
    assert ms(reported((0, 0.0), (40, 0.04), (80, 0.2), (120, 0.2), (160, 0.2)), 0.24) == pytest.approx(200, abs=20)


def test_a_report_that_is_late_moves_it_back_only_a_little() -> None:
    on_time, late = [(40 * index, 0.04 * index) for index in range(10)], [(40 * 10, 0.43), (40 * 11, 0.47)]
    assert ms(reported(*on_time, *late), 0.47) == pytest.approx(470, abs=15)


def test_a_loudspeaker_that_fell_behind_is_believed_in_the_end() -> None:
    on_time, behind = [(40 * index, 0.04 * index) for index in range(10)], range(10, 25)
    assert ms(reported(*on_time, *((40 * index, 0.04 * index + 0.03) for index in behind)), 1.0) == pytest.approx(970)


def test_it_sounds_on_until_the_page_has_heard_of_the_pause() -> None:
    loudspeaker = reported((0, 0.0), (40, 0.04), round_trip_s=0.1)
    loudspeaker.pause(0.05)
    assert ms(loudspeaker, 0.1) == pytest.approx(100)
    assert ms(loudspeaker, 0.3) == pytest.approx(150)
    loudspeaker.report(145 * MS, 0.3)
    assert ms(loudspeaker, 0.34) == pytest.approx(145)


def test_it_goes_on_when_the_page_says_so() -> None:
    loudspeaker = reported((0, 0.0), (40, 0.04))
    loudspeaker.pause(0.04)
    assert ms(loudspeaker, 0.4) == pytest.approx(40)
    loudspeaker.begin(0.5)
    loudspeaker.report(40 * MS, 0.6)
    loudspeaker.report(70 * MS, 0.64)
    assert ms(loudspeaker, 0.66) == pytest.approx(90)


def test_a_report_from_before_it_went_back_is_of_no_place() -> None:
    loudspeaker = reported((0, 0.0), (400, 0.4), round_trip_s=0.1)
    loudspeaker.pause(0.4)
    loudspeaker.rewind(200 * MS, 0.8)
    loudspeaker.begin(0.8)
    loudspeaker.report(490 * MS, 0.84)
    assert ms(loudspeaker, 0.85) == pytest.approx(200)
    loudspeaker.report(200 * MS, 0.98)
    loudspeaker.report(240 * MS, 1.03)
    assert ms(loudspeaker, 1.05) == pytest.approx(260)
