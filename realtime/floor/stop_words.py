"""An optional keyword spotter: whether what is said over the assistant is a word that wants the floor. Sans-I/O.

Loudness cannot always tell "stop" from "mm-hm"; something that knows the words can. There is none by default.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from realtime.media.decoder import Samples

PRE_ROLL_SAMPLES = 6_400
"""Sound from before a hold that the spotter hears too (400 ms at 16 kHz): the word began before it was noticed."""


class KeywordSpotter(Protocol):
    """Listens to one sound at a time. It must answer within a frame's time (20 ms)."""

    def begin(self) -> None:
        """Another sound begins."""
        ...

    def feed(self, samples: Samples) -> bool | None:
        """The next samples of it, 16 kHz, shape [1..]: a stop word, surely none, or None while that is open."""
        ...


class StopWords:
    """Gives a spotter what is heard while the assistant is held, from a little before that on."""

    def __init__(self, spotter: KeywordSpotter) -> None:
        self._spotter = spotter
        self._recent: deque[Samples] = deque()
        self._kept = 0
        self._held = False
        self._answered = False

    def feed(self, samples: Samples, *, held: bool) -> bool | None:
        """The next frame; `held`: whether the assistant is. Returns the spotter's word once for each hold."""
        if not held:
            self._held = False
            self._keep(samples)
            return None
        if not self._held:
            self._held, self._answered = True, False
            self._spotter.begin()
            before = list(self._recent)
            self._recent.clear()
            self._kept = 0
            return self._listen([*before, samples])
        return self._listen([samples])

    def _keep(self, samples: Samples) -> None:
        self._recent.append(samples)
        self._kept += len(samples)
        while self._kept - len(self._recent[0]) >= PRE_ROLL_SAMPLES:
            self._kept -= len(self._recent.popleft())

    def _listen(self, frames: list[Samples]) -> bool | None:
        for samples in frames:
            word = None if self._answered else self._spotter.feed(samples)
            if word is not None:
                self._answered = True
                return word
        return None
