"""aiortc's SCTP for speech: a window that a constant low rate cannot exhaust, timers for conversations, less work.

Speech is 20 ms messages at a constant 50 kB/s, paced by the page. With the window of RFC 9260 (3.5 kB at the start,
1.2 kB after a timeout) a long round trip or one lost packet holds speech back long enough to be heard, although the
network could carry it. The floor is what 300 ms of speech need; above it congestion control stays aiortc's.

aiortc answers every packet with a packet and makes a task of every message. Half of the one and all of the other can be
saved, which many calls on one core are glad of.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiortc.rtcsctptransport as aiortc_sctp
from aiortc import RTCDataChannel, RTCPeerConnection
from aiortc.rtcsctptransport import WEBRTC_BINARY, RTCSctpTransport

from realtime.connection.run_through import run_through

WINDOW_FLOOR = 16 * 1024
"""Bytes in flight that are always allowed: ten full packets are what RFC 6928 starts with, this is fourteen."""

RTO_MIN_S = 0.2
RTO_INITIAL_S = 1.0
"""aiortc waits at least 1 s (3 s at first) before it repeats the last packet of a burst; browsers wait 0.2 to 0.4 s."""

SACK_DELAY_S = 0.05
"""How long a packet may wait for the next one, which is then answered for both (RFC 9260 6.2: at most 0.5 s)."""

QUICK_SACKS = 100
"""The first packets are answered one by one: a sender's window grows with every answer."""


class SpeechSctpTransport(RTCSctpTransport):
    """aiortc's transport with `WINDOW_FLOOR`, delayed acknowledgements, and messages that need no task."""

    _quick_sacks = QUICK_SACKS
    _sack_timer: asyncio.TimerHandle | None = None

    def send_at_once(self, channel: RTCDataChannel, message: bytes) -> None:
        """Send a binary message on an open channel before this returns, as far as the window allows.

        What is sent on a connection that is closing is lost.
        """
        channel._addBufferedAmount(len(message))
        self._data_channel_queue.append((channel, WEBRTC_BINARY, message))
        with suppress(ConnectionError):
            run_through(self._data_channel_flush())

    async def _send_sack(self) -> None:
        """Every second packet is answered at once, and so is what came late, twice, or behind a gap."""
        if self._quick_sacks:
            self._quick_sacks -= 1
        elif self._sack_timer is None and not self._sack_misordered and not self._sack_duplicates:
            self._sack_needed = False
            self._sack_timer = asyncio.get_running_loop().call_later(SACK_DELAY_S, self._sack_waited)
            return
        if self._sack_timer is not None:
            self._sack_timer.cancel()
            self._sack_timer = None
        await super()._send_sack()

    def _sack_waited(self) -> None:
        self._sack_timer = None
        if self._association_state == self.State.ESTABLISHED:
            with suppress(ConnectionError):
                run_through(super()._send_sack())

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
