"""aiortc's SCTP for speech: a window that a constant low rate cannot exhaust, and timers for conversations.

Speech is 20 ms messages at a constant 50 kB/s, paced by the page. With the window of RFC 9260 (3.5 kB at the start,
1.2 kB after a timeout) a long round trip or one lost packet holds speech back long enough to be heard, although the
network could carry it. The floor is what 300 ms of speech need; above it congestion control stays aiortc's.
"""

from __future__ import annotations

import aiortc.rtcsctptransport as aiortc_sctp
from aiortc import RTCPeerConnection
from aiortc.rtcsctptransport import RTCSctpTransport

WINDOW_FLOOR = 16 * 1024
"""Bytes in flight that are always allowed: ten full packets are what RFC 6928 starts with, this is fourteen."""

RTO_MIN_S = 0.2
RTO_INITIAL_S = 1.0
"""aiortc waits at least 1 s (3 s at first) before it repeats the last packet of a burst; browsers wait 0.2 to 0.4 s."""


class SpeechSctpTransport(RTCSctpTransport):
    """aiortc's transport with `WINDOW_FLOOR`."""

    @property
    def _cwnd(self) -> int:
        return max(WINDOW_FLOOR, int(self.__dict__["_cwnd"]))

    @_cwnd.setter
    def _cwnd(self, window: int) -> None:
        self.__dict__["_cwnd"] = window


def prepare_timers() -> None:
    """Set aiortc's retransmission timers, for the whole process."""
    for name, seconds in (("SCTP_RTO_MIN", RTO_MIN_S), ("SCTP_RTO_INITIAL", RTO_INITIAL_S)):
        setattr(aiortc_sctp, name, seconds)


def raise_window(connection: RTCPeerConnection) -> None:
    """Give the connection's SCTP transport, if it has one by now, the floor."""
    if connection.sctp is not None:
        connection.sctp.__class__ = SpeechSctpTransport
