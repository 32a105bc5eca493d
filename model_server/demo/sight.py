"""Looks at pictures: main colour, brightness, and whether something moved since the one before."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_server.demo.colours import main_colour
from model_server.engine import ItemRejected

SIZE = (40, 30)
"""Columns and rows of what is looked at."""
MOST_PIXELS = 40_000_000
_MOVED = 6.0
"""Mean difference of grey levels, changes of light taken out, from which something has moved."""
_DARK, _BRIGHT = 60, 170


@dataclass(frozen=True, slots=True)
class Look:
    """One picture. `grey`: its `SIZE` grey levels, a byte each; `brightness`: their mean, 0 to 255."""

    colour: str
    brightness: float
    grey: bytes

    @property
    def light(self) -> str:
        """The brightness in words."""
        if self.brightness < _DARK:
            return "dark"
        return "bright" if self.brightness > _BRIGHT else "neither very bright nor dark"


@dataclass(frozen=True, slots=True)
class Seen:
    """All pictures of a call so far; times are POSIX seconds. `moving_since` is None while nothing moves."""

    count: int = 0
    last: Look | None = None
    first_at: float = 0.0
    moved_at: float | None = None
    moving_since: float | None = None

    def after(self, look: Look, now: float) -> Seen:
        """With one more picture."""
        if self.last is None:
            return replace(self, count=1, last=look, first_at=now)
        if not moved(self.last, look):
            return replace(self, count=self.count + 1, last=look, moving_since=None)
        since = self.moving_since if self.moving_since is not None else now
        return replace(self, count=self.count + 1, last=look, moved_at=now, moving_since=since)


def look(jpeg: bytes) -> Look:
    """Look at a JPEG file. Raises `ItemRejected` where it is none, is cut off or is too large."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ItemRejected(
                    f"a picture has at most {MOST_PIXELS} pixels, got {picture.width} x {picture.height}: scale it down"
                )
            picture.draft("RGB", (SIZE[0] * 2, SIZE[1] * 2))
            small = picture.convert("RGB").resize(SIZE, Image.Resampling.BOX)
    except ItemRejected:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ItemRejected(f"expected a whole JPEG picture, got {len(jpeg)} bytes that are none: {error}") from error
    pixels = np.asarray(small, np.uint8)
    grey = _grey(pixels)
    return Look(main_colour(pixels), float(grey.mean()), grey.tobytes())


def moved(before: Look, after: Look) -> bool:
    """Whether something moved between two pictures; the light alone may have changed."""
    first, second = (np.frombuffer(each.grey, np.uint8).astype(np.float64) for each in (before, after))
    difference = (second - second.mean()) - (first - first.mean())
    return bool(np.abs(difference).mean() > _MOVED)


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114]), np.uint8)
