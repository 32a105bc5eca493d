"""Items for sessions, made without files: every call with the same arguments makes the same bytes."""

from __future__ import annotations

import numpy as np

from model_server.protocol import UNIT_SAMPLES, PictureItem, TextItem, Unit

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200)) + b"\xff\xd9"
"""Enough of a JPEG file for engines that do not decode pictures."""

CUT_JPEG = JPEG[:-2]


def sound(number: int, samples: int = UNIT_SAMPLES) -> bytes:
    """PCM16 noise of its own for each `number`."""
    return np.random.default_rng(number).integers(-3_000, 3_000, samples, dtype=np.int16).tobytes()


def unit(number: int, *, voiced: bool = True, last: bool = False, pictures: int = 0) -> Unit:
    """One full unit."""
    return Unit(audio=sound(number), pictures=[JPEG] * pictures, voiced=voiced, last=last)


def short_unit(number: int, samples: int = 3_200) -> Unit:
    """The short last unit of a turn."""
    return Unit(audio=sound(number, samples), last=True)


TURNS: tuple[tuple[Unit | TextItem | PictureItem, ...], ...] = (
    (unit(1), unit(2, last=True)),
    (unit(3, pictures=1), unit(4, voiced=False), short_unit(5)),
    (TextItem(text="What do you see?"), PictureItem(jpeg=JPEG), unit(6, last=True)),
    (unit(7), unit(8, last=True, pictures=2)),
)
"""Turns that each earn one reply, of turn-based and native doubles alike."""
