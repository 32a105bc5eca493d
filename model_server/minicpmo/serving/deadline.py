"""When the next piece of a reply has to be there: when the speech that was made runs dry in the person's ear."""

from __future__ import annotations

from collections.abc import Callable


class Deadline:
    """Of one reply. `clock` gives seconds; `patience_s`: how much later than asked its first piece may be."""

    def __init__(self, clock: Callable[[], float], patience_s: float = 0.0) -> None:
        self._clock = clock
        self._made_ms = 0.0
        self._heard_ms = 0.0
        self._heard_at = clock() + patience_s

    @property
    def due(self) -> float:
        """When the loudspeaker falls silent; before anything was made, when the reply was asked for."""
        return self._heard_at + (self._made_ms - self._heard_ms) / 1000

    def made(self, ms: float) -> None:
        """So much speech is there in all; the first of it begins to play about now."""
        if not self._made_ms and ms:
            self._heard_at = self._clock()
        self._made_ms = ms

    def heard(self, ms: float) -> None:
        """So much of the reply was heard by now."""
        if ms > self._heard_ms:
            self._heard_ms, self._heard_at = min(ms, self._made_ms), self._clock()
