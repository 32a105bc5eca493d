"""The loudspeaker's position: tables of what was sent, reported and held, and where that leaves it."""

import pytest

from realtime.output.heard import EXTRAPOLATION_MS, AckedPosition, TrackPosition


def test_stands_at_zero_before_anything_was_sent() -> None:
    for position in (AckedPosition(), TrackPosition()):
        assert position.at(5.0) == 0
        assert position.when(0) is None


@pytest.mark.parametrize(
    ("sent_ms", "now", "expected_ms"),
    [(1000, 10.0, 0), (1000, 10.1, 100), (1000, 10.4, 400), (100, 10.4, 100)],
)
def test_moves_at_real_time_up_to_what_was_sent(sent_ms: int, now: float, expected_ms: float) -> None:
    for position in (AckedPosition(), TrackPosition()):
        position.extend(sent_ms * 24, 10.0)
        assert position.at(now) == pytest.approx(expected_ms * 24)


def test_without_reports_a_page_is_believed_for_a_second_and_a_track_for_ever() -> None:
    acked, track = AckedPosition(), TrackPosition()
    acked.extend(48_000, 0.0)
    track.extend(48_000, 0.0)
    assert acked.at(1.5) == EXTRAPOLATION_MS * 24
    assert track.at(1.5) == pytest.approx(1500 * 24)


@pytest.mark.parametrize(
    ("report", "taken"),
    [(0.0, True), (4800.0, True), (24_000.0, True), (24_001.0, False), (float("nan"), False), (float("inf"), False)],
)
def test_takes_only_reports_that_can_be(report: float, taken: bool) -> None:
    position = AckedPosition()
    position.extend(24_000, 0.0)
    assert position.ack(report, 0.2) is taken
    assert position.acked == (report if taken else 0.0)


def test_a_report_may_repeat_but_not_go_back() -> None:
    position = AckedPosition()
    position.extend(24_000, 0.0)
    assert position.ack(4800, 0.2)
    assert position.ack(4800, 0.4)
    assert not position.ack(4799, 0.6)
    assert position.at(0.4) == 4800


def test_a_report_corrects_the_estimate_either_way() -> None:
    position = AckedPosition()
    position.extend(24_000, 0.0)
    assert position.ack(2400, 0.3)
    assert position.at(0.3) == 2400
    assert position.at(0.4) == pytest.approx(4800)
    assert position.ack(12_000, 0.4)
    assert position.at(0.4) == 12_000


def test_after_a_starvation_it_goes_on_from_the_end_and_not_from_where_it_would_be() -> None:
    for position in (AckedPosition(), TrackPosition()):
        position.extend(2400, 0.0)
        position.extend(4800, 0.3)
        assert position.at(0.3) == 2400
        assert position.at(0.35) == pytest.approx(2400 + 1200)


def test_a_silent_page_is_not_moved_by_sending_more() -> None:
    position = AckedPosition()
    position.extend(24_000, 0.0)
    assert position.at(2.0) == EXTRAPOLATION_MS * 24
    position.extend(48_000, 2.0)
    assert position.at(9.0) == EXTRAPOLATION_MS * 24


def test_stands_still_while_held() -> None:
    position = TrackPosition()
    position.extend(24_000, 0.0)
    position.hold(0.1)
    assert position.at(0.9) == pytest.approx(2400)
    assert position.when(3000) is None
    position.resume(1.0)
    assert position.at(1.1) == pytest.approx(4800)


def test_holding_and_resuming_does_not_carry_it_past_the_last_report_for_ever() -> None:
    position = AckedPosition()
    position.extend(48_000, 0.0)
    for at in range(20):
        position.hold(at + 0.3)
        position.resume(at + 1.0)
    assert position.at(30.0) == EXTRAPOLATION_MS * 24


def test_says_when_a_position_will_be_reached() -> None:
    position = AckedPosition()
    position.extend(24_000, 0.0)
    assert position.ack(2400, 1.0)
    when = position.when(4800)
    assert when == pytest.approx(1.1, abs=1e-3)
    assert when is not None
    assert position.at(when) >= 4800
    assert position.when(2400 + EXTRAPOLATION_MS * 24 + 1) is None


def test_a_loudspeaker_that_goes_back_is_followed_and_what_was_heard_stays() -> None:
    position = AckedPosition()
    position.extend(48_000, 0.0)
    assert position.ack(24_000, 1.0)
    position.hold(1.0)
    position.rewind(18_000, 24_000, 1.3)
    position.resume(1.3)
    assert position.at(1.3) == 18_000
    assert position.most == 24_000
    assert position.ack(24_000, 1.31)  # from before it went back
    assert position.ack(18_500, 1.35)
    assert position.at(1.35) == 18_500
    assert not position.ack(17_999, 1.4)
    assert position.ack(30_000, 1.8)
    assert not position.ack(29_000, 1.9)
