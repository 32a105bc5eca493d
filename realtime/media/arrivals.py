"""How late the microphone's frames arrive, against the promptest of them. Sans-I/O.

An echo is found by what the loudspeaker gave when the microphone heard it, not when the network delivered that. Times
are seconds of one monotonic clock.
"""

from __future__ import annotations

LEAK = 0.02
"""The promptest frame counts less and less, by so much of the time since: a line may become slower for good."""

LATEST_S = 0.5
"""No frame is taken to be later."""

JOLT_S = 0.06
"""A frame that is so late says that the line, or the page, stood still."""

SHAKEN_S = 3.0
"""For so long after a jolt sound and its echo do not fit each other: most of what they are compared by is older."""


class Arrivals:
    """Tell it of every frame."""

    def __init__(self) -> None:
        self._usual: float | None = None
        self._at = 0.0
        self._jolted_at = float("-inf")

    def late_s(self, captured: float, now: float) -> float:
        """By how much a frame that arrived at `now` is late; `captured`: its end by the microphone's own clock."""
        delay = now - captured
        usual = delay if self._usual is None else min(delay, self._usual + LEAK * (now - self._at))
        self._usual, self._at = usual, now
        late_s = min(delay - usual, LATEST_S)
        if late_s >= JOLT_S:
            self._jolted_at = now
        return late_s

    def shaken(self, now: float) -> bool:
        """Whether the line stood still a short while ago."""
        return now - self._jolted_at < SHAKEN_S
