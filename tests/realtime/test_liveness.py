"""Pings, their round trip, and when a client counts as gone."""

from __future__ import annotations

import pytest

from realtime.connection.liveness import ESTABLISH_S, LOST_AFTER_S, PING_INTERVAL_S, Liveness


def connected() -> Liveness:
    liveness = Liveness(0.0)
    liveness.connected(1.0)
    return liveness


def test_a_call_that_never_connects_is_given_up():
    liveness = Liveness(0.0)
    assert liveness.deadline == ESTABLISH_S
    assert liveness.lost(ESTABLISH_S - 0.1) is None
    assert liveness.lost(ESTABLISH_S) == "never_connected"


def test_a_client_that_does_not_ping_is_not_judged_by_pings():
    liveness = connected()
    assert liveness.ping(100.0) is None
    assert liveness.lost(100.0) is None
    assert liveness.deadline is None


def test_pings_come_every_second_and_measure_the_round_trip():
    liveness = connected()
    liveness.expect_pongs(1.0)
    assert liveness.ping(1.0) == 1
    assert liveness.ping(1.0 + PING_INTERVAL_S / 2) is None
    liveness.pong(1, 1.08)
    assert liveness.rtt_ms == pytest.approx(80)
    assert liveness.ping(1.0 + PING_INTERVAL_S) == 2
    liveness.pong(2, 2.16)
    assert 80 < liveness.rtt_ms < 160
    assert liveness.jitter_ms > 0


def test_any_sign_of_life_counts_and_silence_ends_it():
    liveness = connected()
    liveness.expect_pongs(1.0)
    liveness.sign(3.0)
    assert liveness.lost(3.0 + LOST_AFTER_S - 0.1) is None
    assert liveness.lost(3.0 + LOST_AFTER_S) == "vanished"


def test_an_answer_nobody_asked_for_is_only_a_sign_of_life():
    liveness = connected()
    liveness.expect_pongs(1.0)
    liveness.pong(999, 2.0)
    liveness.pong(-1, 2.0)
    assert liveness.rtt_ms == 0
    assert liveness.lost(2.0 + LOST_AFTER_S - 0.1) is None
