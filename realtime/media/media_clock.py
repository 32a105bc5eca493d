"""The clocks of a call's audio as positions (16 kHz samples): the sender's RTP time and the server's own.

Times are seconds of one monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_server.protocol import HEARING_RATE

RTP_RATE = 48_000
"""Opus counts RTP time at 48 kHz, whatever it carries (RFC 7587 section 4.1)."""

_RTP_PER_SAMPLE = RTP_RATE // HEARING_RATE

MAX_DRIFT = 500e-6
"""Sender's clocks are off by less than this; crystals are good for 200 ppm."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """At `time` the stream stood at `position`: where the server's clock counts from."""

    time: float
    position: int

    def position_at(self, now: float) -> int:
        """Where it stands at `now`, if it goes on in real time."""
        return self.position + round((now - self.time) * HEARING_RATE)

    def time_at(self, position: int) -> float:
        """When it stands at `position`, if it goes on in real time."""
        return self.time + (position - self.position) / HEARING_RATE


class Pace:
    """The server's clock as positions of the call; it follows the sender's clock as far as that may drift."""

    def __init__(self, now: float) -> None:
        self._time = now
        self._position = 0.0

    def ahead(self, position: int, now: float) -> float:
        """By how many samples `position` is ahead of the clock."""
        return position - self._position - (now - self._time) * HEARING_RATE

    def follow(self, position: int, now: float) -> None:
        """The call stands at `position` now."""
        elapsed = (now - self._time) * HEARING_RATE
        drift = min(max(self.ahead(position, now), -MAX_DRIFT * elapsed), MAX_DRIFT * elapsed)
        self._position += elapsed + drift
        self._time = now


class MediaClock:
    """The sender's RTP time, unwrapped (32 bit, 48 kHz), as positions."""

    def __init__(self, timestamp: int, position: int) -> None:
        self.latest = position
        """Position of the newest packet that was placed."""
        self._timestamp = timestamp
        self._ticks = 0
        self._base = position

    def position(self, timestamp: int) -> int:
        """The position of the sample at RTP time `timestamp`, taken as the value nearest to the latest."""
        return self._base + (self._ticks + _signed_32(timestamp - self._timestamp)) // _RTP_PER_SAMPLE

    def follow(self, timestamp: int) -> None:
        """A packet was placed at `timestamp`."""
        self._ticks += _signed_32(timestamp - self._timestamp)
        self._timestamp = timestamp
        self.latest = self._base + self._ticks // _RTP_PER_SAMPLE


def _signed_32(difference: int) -> int:
    return ((difference + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
