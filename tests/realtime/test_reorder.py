"""The order of one stream's packets, without clocks of media."""

from __future__ import annotations

import pytest

from realtime.media.reorder import DEPTH, WAIT_S, Arrival, ReorderBuffer


def sequences(buffer: ReorderBuffer[int], now: float) -> list[tuple[int, int]]:
    """What can go on: (number, lost before it)."""
    return [(ordered.item, ordered.lost) for ordered in buffer.take(now)]


def filled(*numbers: int, now: float = 0.0) -> ReorderBuffer[int]:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    for number in numbers:
        buffer.add(number & 0xFFFF, number, now)
    return buffer


def test_packets_in_order_never_wait() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    for number in range(65_530, 65_550):
        assert buffer.add(number & 0xFFFF, number, 0.0) is Arrival.TAKEN
        assert buffer.deadline is None or len(buffer) == 1
        assert sequences(buffer, 0.0) == [(number, 0)]
    assert buffer.deadline is None


def test_a_gap_is_given_up_when_the_third_packet_behind_it_comes() -> None:
    buffer = filled(10)
    buffer.take(0.0)
    for ahead in range(1, DEPTH):
        buffer.add(10 + 1 + ahead, 11 + ahead, 0.0)
        assert sequences(buffer, 0.0) == []
    buffer.add(11 + DEPTH, 11 + DEPTH, 0.0)
    assert sequences(buffer, 0.0) == [(12, 1), (13, 0), (14, 0)]


def test_a_gap_is_given_up_when_the_first_packet_behind_it_waited_long_enough() -> None:
    buffer = filled(10)
    buffer.take(0.0)
    buffer.add(12, 12, 1.0)
    assert buffer.deadline == 1.0 + WAIT_S
    assert sequences(buffer, 1.0 + WAIT_S - 1e-9) == []
    (ordered,) = buffer.take(1.0 + WAIT_S)
    assert (ordered.item, ordered.lost, ordered.waited) == (12, 1, pytest.approx(WAIT_S))


def test_a_second_copy_is_a_duplicate_before_and_after_it_went_on() -> None:
    buffer = filled(10, 11)
    assert buffer.add(11, 11, 0.0) is Arrival.DUPLICATE
    buffer.take(0.0)
    assert buffer.add(10, 10, 0.0) is Arrival.DUPLICATE
    assert buffer.add(11, 11, 0.0) is Arrival.DUPLICATE


def test_a_packet_behind_its_given_up_place_is_late_not_a_duplicate() -> None:
    buffer = filled(10, 12, 13, 14)
    assert sequences(buffer, 0.0) == [(10, 0), (12, 1), (13, 0), (14, 0)]
    assert buffer.add(11, 11, 0.0) is Arrival.LATE
    assert buffer.add(12, 12, 0.0) is Arrival.DUPLICATE


def test_numbers_begin_anew_once_two_packets_agree() -> None:
    buffer = filled(10)
    buffer.take(0.0)
    assert buffer.add(40_000, 0, 0.0) is Arrival.LATE
    assert buffer.add(50_000, 0, 0.0) is Arrival.LATE
    assert buffer.add(50_001, 1, 0.0) is Arrival.TAKEN
    assert sequences(buffer, 0.0) == [(1, 1)]
    assert buffer.add(50_001, 1, 0.0) is Arrival.DUPLICATE


def test_flush_gives_out_everything_that_waits() -> None:
    buffer = filled(10, 12, 13)
    buffer.take(0.0)
    assert [(ordered.item, ordered.lost) for ordered in buffer.flush(0.01)] == [(12, 1), (13, 0)]
    assert len(buffer) == 0
