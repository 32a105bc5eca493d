"""What the calls of a trial do, and what they send."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from model_server.protocol import UNIT_SAMPLES, Unit

SIDE = 448
DIFFERENT = 8
"""Seconds of sound, and pictures, that are not the same."""

LEAST_SAMPLES, SAMPLE_STEP = 3_200, 640
"""Of the unit that ends a turn."""


@dataclass(frozen=True, slots=True)
class Load:
    """`calls` for `seconds`. `speaking`: share of them that hears a reply at any time. `context`: positions that a
    call's cache holds as it begins, three quarters of it to all of it: so full are those of long calls.
    """

    calls: int
    seconds: float = 60.0
    pictures: bool = True
    speaking: float = 0.3
    context: int = 0
    seed: int = 0


def unit(number: int, pictures: bool) -> Unit:
    """A whole second."""
    return Unit(audio=_sound(number % DIFFERENT), pictures=_pictures(number, pictures))


def last_unit(number: int, pictures: bool, seconds: float) -> Unit:
    """The end of a turn: up to a second, at least 0.2 s."""
    samples = round(seconds * 16_000 / SAMPLE_STEP) * SAMPLE_STEP
    length = 2 * min(max(samples, LEAST_SAMPLES), UNIT_SAMPLES)
    return Unit(audio=_sound(number % DIFFERENT)[:length], pictures=_pictures(number, pictures), last=True)


def _pictures(number: int, wanted: bool) -> list[bytes]:
    return [_picture(number % DIFFERENT)] if wanted else []


@cache
def _sound(number: int) -> bytes:
    return np.random.default_rng(number).integers(-3_000, 3_000, UNIT_SAMPLES, dtype="<i2").tobytes()


@cache
def _picture(number: int) -> bytes:
    coarse = np.random.default_rng(number).integers(0, 255, (28, 28, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(file, "JPEG", quality=80)
    return file.getvalue()
