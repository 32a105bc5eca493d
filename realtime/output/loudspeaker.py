"""Where the loudspeaker is by the page's reports, which is what an echo is the echo of. Sans-I/O.

Pacing takes what was sent for playing at once (`heard`), but a page needs its own time until it sounds, and one that is
told to fall silent sounds until that reaches it. Here it begins when pages usually do or a report says so, and goes on
until a report says that it stands; it is where the least delayed of the latest reports puts it. Positions are samples
at 24 kHz, times seconds of one monotonic clock.
"""

from __future__ import annotations

from model_server.protocol import SPEECH_RATE

BEGINS_S = 0.1
"""A page sounds so long after it got what it plays or was told to go on: its loopback connection takes most of that."""

LATER_S = 0.02
"""A page that says it has not begun begins no sooner than so much later."""

CARRY_S = 0.3
"""For so long after a report that it moves it is taken to move: pages report every 40 ms, lost reports come late."""

MOVES = 0.5
"""It moves when it came forward by so much of the time between two reports: it may have begun or ended there."""

LEAK = 0.1
"""A report may tell of a loudspeaker that fell behind: by so much of the time it is believed against those before."""

SOONEST_S = 0.03
"""No page sounds sooner after it was told to go back: a report from further ahead is from before that."""


class Loudspeaker:
    """One response's sound at the page, to which it is `round_trip_s` and back."""

    def __init__(self, round_trip_s: float = 0.0) -> None:
        self._round_trip_s = round_trip_s
        self._position, self._reported_at = 0.0, 0.0
        self._began_at: float | None = None
        """When it was, or would have been, at position 0 of the response; None while it stands."""
        self._begins_at = self._stands_from = float("inf")
        self._back: tuple[float, float] | None = None

    def at(self, now: float) -> float:
        """Where it is at `now`."""
        until = min(now, self._stands_from)
        if self._began_at is not None:
            until = min(until, self._reported_at + CARRY_S)
            return max(self._position, (until - self._began_at) * SPEECH_RATE)
        return self._position + max(0.0, min(until - self._begins_at, CARRY_S)) * SPEECH_RATE

    def begin(self, now: float) -> None:
        """The page is given what it plays next, or told to go on."""
        self._position, self._reported_at = self.at(now), now
        self._began_at, self._stands_from = None, float("inf")
        self._begins_at = now + self._round_trip_s + BEGINS_S

    def report(self, position: float, now: float) -> None:
        """The page says that it has played up to `position`, in a report that can be."""
        if self._is_from_before_going_back(position, now):
            return
        awaited = self._begins_at < float("inf")
        since_s = now - (max(self._reported_at, self._begins_at) if awaited else self._reported_at)
        since = position - self._position
        # Reports that were stuck come at once: any step forward in no time is one of them.
        moves = since > 0 and since >= MOVES * since_s * SPEECH_RATE
        self._began_at = self._least_delayed(position, now, since_s) if moves else None
        self._begins_at = max(self._begins_at, now + LATER_S) if awaited and since <= 0 else float("inf")
        self._position, self._reported_at = position, now

    def pause(self, now: float) -> None:
        """The page is told to fall silent: by its reports' clock it does after a round trip."""
        self._stands_from = now + self._round_trip_s
        if self._began_at is None:
            self._position, self._begins_at = self.at(now), float("inf")

    def rewind(self, position: float, now: float) -> None:
        """It is told to go back to `position`."""
        self._position, self._reported_at, self._began_at = position, now, None
        self._back = position, now

    def _least_delayed(self, position: float, now: float, since_s: float) -> float:
        began_at = now - position / SPEECH_RATE
        return began_at if self._began_at is None else min(began_at, self._began_at + LEAK * since_s)

    def _is_from_before_going_back(self, position: float, now: float) -> bool:
        if self._back is None:
            return False
        back_to, back_at = self._back
        return position > back_to + max(0.0, now - back_at - SOONEST_S) * SPEECH_RATE
