"""The seams into aiortc's SCTP: the window never closes on speech, and the timers are a conversation's."""

from __future__ import annotations

import inspect

import aiortc.rtcsctptransport as aiortc_sctp
import pytest
from aiortc import RTCPeerConnection

from realtime.connection.sctp import RTO_MIN_S, WINDOW_FLOOR, SpeechSctpTransport, prepare_timers, raise_window


async def test_the_window_has_a_floor_and_grows_above_it():
    connection = RTCPeerConnection()
    raise_window(connection)
    connection.createDataChannel("audio")
    raise_window(connection)
    sctp = connection.sctp
    assert isinstance(sctp, SpeechSctpTransport)
    assert sctp._cwnd == WINDOW_FLOOR
    sctp._cwnd = 100_000
    assert sctp._cwnd == 100_000
    sctp._t3_expired()
    assert sctp._cwnd == WINDOW_FLOOR
    await connection.close()


def test_the_timers_are_the_ones_aiortc_reads(monkeypatch: pytest.MonkeyPatch):
    for name in ("SCTP_RTO_MIN", "SCTP_RTO_INITIAL"):
        monkeypatch.setattr(aiortc_sctp, name, getattr(aiortc_sctp, name))
        assert name in inspect.getsource(aiortc_sctp.RTCSctpTransport)
    prepare_timers()
    assert aiortc_sctp.SCTP_RTO_MIN == RTO_MIN_S
