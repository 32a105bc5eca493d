"""Where the loudspeaker is in one response: known points and real time between them. Sans-I/O.

Positions are samples of the response at 24 kHz (fractions allowed), times are seconds of one monotonic clock. A page
that reports its playback gives exact points (`AckedPosition`); an Opus track reports nothing, so real time alone tells
(`TrackPosition`).
"""

from __future__ import annotations

from model_server.protocol import SPEECH_RATE
from realtime.output.loudspeaker import Loudspeaker

SAMPLES_PER_MS = SPEECH_RATE // 1000

EXTRAPOLATION_MS = 1_000
"""How far real time may carry the position beyond the last report: a page that falls silent stops us."""

BEYOND_MS = 100
"""A report so far beyond all that was heard before can be none from before the loudspeaker went back."""

ROUNDING_S = 50e-6
"""Added to predicted times, so that at the predicted time the position is reached despite floating point."""


class TrackPosition:
    """Played at real time from the first sample sent; stands still while nothing is left to play or it is held."""

    def __init__(self) -> None:
        self.end = 0
        """Samples sent so far: the position never passes them."""
        self._anchor = 0.0
        self._anchor_at: float | None = None
        self._held = False
        self.most = 0.0
        """What had been heard when the loudspeaker last went back."""

    @property
    def limit(self) -> float:
        """The position real time alone may reach."""
        return self.end

    def at(self, now: float) -> float:
        """The position at time `now`."""
        if self._held or self._anchor_at is None:
            return min(self._anchor, self.limit)
        return min(self._anchor + (now - self._anchor_at) * SPEECH_RATE, self.limit)

    def extend(self, end: int, now: float) -> None:
        """Samples up to `end` were sent at `now`; after a starvation playing goes on from here, not from where it was.

        Only an exhausted `end` is a starvation: a position stopped by missing reports is not moved.
        """
        if self._anchor_at is None or self.at(now) >= self.end:
            self._anchor, self._anchor_at = self.at(now), now
        self.end = end

    def playing(self, now: float) -> float:
        """What the loudspeaker gives at `now`: this is what an echo is the echo of."""
        return self.at(now)

    def hold(self, now: float) -> None:
        """The loudspeaker pauses."""
        self._anchor, self._held = self.at(now), True

    def resume(self, now: float) -> None:
        """The loudspeaker goes on where it paused."""
        self._held = False
        if self._anchor_at is not None:
            self._anchor_at = now

    def rewind(self, position: float, heard: float, now: float) -> None:
        """What follows `position` is sent again; `heard` of it were heard before."""
        self.most = max(self.most, heard)
        self._anchor = self.end = round(position)
        if self._anchor_at is not None:
            self._anchor_at = now

    def when(self, position: float) -> float | None:
        """The time at which `position` is reached without further reports; None if it never is."""
        if self._held or self._anchor_at is None or position > self.limit:
            return None
        return self._anchor_at + max(0.0, position - self._anchor) / SPEECH_RATE + ROUNDING_S


class AckedPosition(TrackPosition):
    """Played as the page reports it, with at most `EXTRAPOLATION_MS` of real time on top."""

    def __init__(self, round_trip_s: float = 0.0) -> None:
        super().__init__()
        self.acked = 0.0
        self._loudspeaker = Loudspeaker(round_trip_s)
        self._least = 0.0

    @property
    def limit(self) -> float:
        return min(self.end, self.acked + EXTRAPOLATION_MS * SAMPLES_PER_MS)

    def ack(self, position: float, now: float) -> bool:
        """The page has played up to `position`. False, and nothing changes, when that cannot be.

        A report may not go back, nor pass what was sent; right after `rewind` one from before it may come.
        """
        if not self._least <= position <= self.end:
            return False
        if position > self.most + BEYOND_MS * SAMPLES_PER_MS or not self.most:
            self._least = position
        self.acked = self._anchor = position
        self._loudspeaker.report(position, now)
        if self._anchor_at is not None:
            self._anchor_at = now
        return True

    def playing(self, now: float) -> float:
        return min(self._loudspeaker.at(now), self.end)

    def extend(self, end: int, now: float) -> None:
        if self._anchor_at is None:
            self._loudspeaker.begin(now)
        super().extend(end, now)

    def hold(self, now: float) -> None:
        super().hold(now)
        self._loudspeaker.pause(now)

    def resume(self, now: float) -> None:
        super().resume(now)
        self._loudspeaker.begin(now)

    def rewind(self, position: float, heard: float, now: float) -> None:
        """The loudspeaker goes back to `position`, which it has played already."""
        self.most = max(self.most, heard)
        self.acked = self._anchor = self._least = position
        self._loudspeaker.rewind(position, now)
        if self._anchor_at is not None:
            self._anchor_at = now
