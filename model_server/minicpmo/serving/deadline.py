"""When the next piece of a reply has to be there: when the speech that was made runs dry in the person's ear."""

from __future__ import annotations

from collections.abc import Callable

READ_PER_S = 60
"""Characters of text that need no haste: a quick reader's, twice over."""


class Deadline:
    """Of one reply. `clock` gives seconds; `patience_s`: how much later than asked its first piece may be."""

    def __init__(self, clock: Callable[[], float], patience_s: float = 0.0, *, spoken: bool = True) -> None:
        self._clock, self._spoken = clock, spoken
        self._read_s = 0.0
        self._made_ms = 0.0
        self._heard_ms = 0.0
        self._heard_at = clock() + patience_s

    @property
    def due(self) -> float:
        """When the loudspeaker falls silent; before anything was made, when the reply was asked for.

        Of a reply without speech: when its text is read, so that writing on and on goes before nobody's speech.
        """
        return self._heard_at + (self._made_ms - self._heard_ms) / 1000 + self._read_s

    def written(self, text: str) -> None:
        """More of its text is there."""
        if not self._spoken:
            self._read_s += len(text) / READ_PER_S

    def made(self, ms: float) -> None:
        """So much speech is there in all; the first of it begins to play about now."""
        if not self._made_ms and ms:
            self._heard_at = self._clock()
        self._made_ms = ms

    def heard(self, ms: float) -> None:
        """So much of the reply was heard by now; the same as before where the loudspeaker is held."""
        if ms > self._heard_ms or self._heard_ms == ms < self._made_ms:
            self._heard_ms, self._heard_at = min(ms, self._made_ms), self._clock()
