"""Where in its text a segment's speech is, frame by frame, by where the speech model looks while it speaks.

A head that tells it looks at few tokens at a time and walks forward through the text; most heads do something else.
Which ones do is found anew with every call, from what they did in the last second: no head is known beforehand, and
where none walks nothing is told. Unproven without trained weights: that there are such heads, and how far they look
ahead of what sounds.
"""

from __future__ import annotations

import numpy as np

from model_server.minicpmo.network.text_looks import Floats, Looks

WINDOW = 50
"""Frames by which a head is judged, 1.07 s."""

LEAST_CERTAINTY = 0.35
"""Of a head in the window, and of the trusted ones in a frame: four of ten tokens looked at have as much."""

LEAST_STEADINESS = 0.8
"""Correlation of a head's place with time: that of a walk with pauses and some jitter."""

LEAST_WALK, MOST_JUMP = 1.0, 4.0
"""Tokens walked through in the window, and from one frame to the next."""

MOST_TOKENS = 4096
"""Beyond it no text has tokens."""


class Walk:
    """Written call by call, with every call's looks in order."""

    def __init__(self) -> None:
        self.places: list[float | None] = []
        """The token that each frame of the segment speaks (see `Looks.places`), None where that cannot be told."""
        self._recent: Looks | None = None

    def looked(self, looks: Looks | None, frames: int) -> None:
        """A call is over that made so many frames, the first ones of `looks`; None if it told nothing."""
        if looks is None or not frames or len(looks.places) < frames:
            self._recent = None
            self.places += [None] * frames
            return
        new = Looks(looks.places[:frames], looks.certainty[:frames])
        self._recent = _latest(self._recent, new) if self._recent else _latest(new)
        self.places += _places(self._recent, frames)


def _latest(*parts: Looks) -> Looks:
    """The latest frames of a window."""
    places = np.concatenate([part.places for part in parts])
    return Looks(places[-WINDOW:], np.concatenate([part.certainty for part in parts])[-WINDOW:])


def _places(recent: Looks, frames: int) -> list[float | None]:
    """The tokens that the latest `frames` of a window speak."""
    weight = trust(recent.places, recent.certainty)
    if not weight.any():
        return [None] * frames
    heads, weight = weight > 0, weight[weight > 0] / weight.sum()
    places, certainty = recent.places[-frames:, heads] @ weight, recent.certainty[-frames:, heads] @ weight
    return [float(place) if sure >= LEAST_CERTAINTY else None for place, sure in zip(places, certainty, strict=True)]


def trust(places: Floats, certainty: Floats) -> Floats:
    """How far each head [heads] is trusted that looked so [frames, heads]: 0 unless it is sure and walks forward."""
    sound = ((np.abs(places) <= MOST_TOKENS) & (np.abs(certainty) <= 1 + 1e-3)).all(0)
    if len(places) < 2 or not sound.any():
        return np.zeros(places.shape[1], np.float32)
    at, sure = np.where(sound, places, 0.0), np.where(sound, certainty, 0.0).mean(0)
    steady, walked = _steadiness(at)
    walks = (steady >= LEAST_STEADINESS) & (walked >= LEAST_WALK) & (np.abs(np.diff(at, axis=0)).max(0) <= MOST_JUMP)
    weight: Floats = np.where(sound & walks & (sure >= LEAST_CERTAINTY), sure * steady, 0.0).astype(np.float32)
    return weight


def _steadiness(places: Floats) -> tuple[Floats, Floats]:
    """Correlation of each head's places [frames, heads] with time, and the tokens that its trend walks through."""
    time = np.arange(len(places), dtype=np.float32)
    time -= time.mean()
    off = places - places.mean(0)
    along, spread = time @ off, float(np.square(time).sum())
    length = np.sqrt(np.square(off).sum(0) * spread)
    steady = np.divide(along, length, out=np.zeros_like(along), where=length > 1e-6)
    return steady, along / spread * (len(places) - 1)
