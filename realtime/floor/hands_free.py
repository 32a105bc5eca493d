"""Whether a call can go on hands-free, or the person had better tap when they want to speak. Sans-I/O.

Where the assistant's echo is nearly as loud as the person, or the room is, nobody can tell who speaks. Levels are dB of
full scale, times seconds of one monotonic clock.
"""

from __future__ import annotations

ECHO_DB = -6.0
"""Echo that comes so near to the person's level is taken for them, again and again; 3 dB softer it is not."""

NOISE_DB = -3.0
"""Noise that comes so near hides their words."""

HYSTERESIS_DB = 3.0
"""It counts as over only when it is softer than that by so much."""

TOO_LOUD_S = 3.0
"""It has to last so long to be said."""

QUIET_S = 20.0
"""It has to be over for so long to be said again when it comes back."""


class HandsFree:
    """Feed it the levels now and then; it says once when tapping would serve the person better."""

    def __init__(self) -> None:
        self._offered = False
        self._since: float | None = None

    def feed(self, person_db: float | None, echo_db: float | None, room_db: float, now: float) -> bool:
        """The levels by now (None: not known yet). True when tap-to-talk is to be offered now."""
        if person_db is None:
            return False
        above = max(room_db - person_db - NOISE_DB, float("-inf") if echo_db is None else echo_db - person_db - ECHO_DB)
        leaves = above < -HYSTERESIS_DB if self._offered else above >= 0
        if not leaves:
            self._since = None
            return False
        self._since = now if self._since is None else self._since
        if now - self._since < (QUIET_S if self._offered else TOO_LOUD_S):
            return False
        self._offered, self._since = not self._offered, None
        return self._offered
