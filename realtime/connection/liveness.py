"""Is the client still there, and how far away? Sans-I/O.

A client that asked for `ping` is asked every second; its answers measure the round trip. Any sign of life counts, so a
page whose microphone is heard is alive even when its answers are late. Clients that did not ask are watched by their
packets and by ICE consent alone (`realtime.peer`).
"""

from __future__ import annotations

PING_INTERVAL_S = 1.0
LOST_AFTER_S = 5.0
"""Silence of everything (packets, answers, events) for so long means that a client which pings is gone."""

ESTABLISH_S = 15.0
"""A call that is not connected by then never will be."""


class Liveness:
    """Watches one client. `now` is seconds of a monotonic clock."""

    def __init__(self, now: float) -> None:
        self.rtt_ms = 0.0
        """Smoothed round trip of ping and pong, 0 until one is known."""
        self.jitter_ms = 0.0
        self._last_sign = now
        self._pings = False
        self._connected = False
        self._nonce = 0
        self._sent: dict[int, float] = {}
        self._next_ping = now
        self._establish_by = now + ESTABLISH_S

    def connected(self, now: float) -> None:
        """The peer connection is up."""
        self._connected = True
        self._last_sign = now

    def expect_pongs(self, now: float) -> None:
        """The client answers pings from now on."""
        if not self._pings:
            self._pings = True
            self._next_ping = self._last_sign = now

    def sign(self, now: float) -> None:
        """Something came from the client."""
        self._last_sign = now

    def pong(self, nonce: int, now: float) -> None:
        """An answer; one that was not asked for is only a sign of life."""
        self.sign(now)
        sent = self._sent.pop(nonce, None)
        if sent is None:
            return
        sample = (now - sent) * 1000
        if not self.rtt_ms:
            self.rtt_ms = sample
        self.jitter_ms += 0.125 * (abs(sample - self.rtt_ms) - self.jitter_ms)
        self.rtt_ms += 0.125 * (sample - self.rtt_ms)

    def ping(self, now: float) -> int | None:
        """The nonce to send now, None when no ping is due."""
        if not self._pings or now < self._next_ping:
            return None
        self._next_ping = now + PING_INTERVAL_S
        self._nonce += 1
        self._sent[self._nonce] = now
        self._sent.pop(self._nonce - 16, None)
        return self._nonce

    def lost(self, now: float) -> str | None:
        """Why the client counts as gone, None while it does not."""
        if not self._connected:
            return "never_connected" if now >= self._establish_by else None
        if self._pings and now - self._last_sign >= LOST_AFTER_S:
            return "vanished"
        return None

    @property
    def deadline(self) -> float | None:
        """When `ping` or `lost` is due next."""
        if not self._connected:
            return self._establish_by
        return min(self._next_ping, self._last_sign + LOST_AFTER_S) if self._pings else None
