"""Turns for the tiny checkpoint, each of which earns a reply with speech, and the engine that serves it."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image

from model_server.minicpmo.serving.engine import MiniCPMOEngine
from model_server.minicpmo.serving.starting import ModelChoice, Started, start
from model_server.protocol import PictureItem, SessionConfig, TextItem, Unit
from tests.model_server.minicpmo.conftest import VECTORS
from tests.model_server.samples import JPEG, sound

CHOICE = ModelChoice(str(VECTORS / "checkpoint"), devices=("cpu",), dtype="float32")
CONFIG = SessionConfig(seed=37, max_response_tokens=6, transcribe=False)


@cache
def picture(number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG file of noise."""
    pixels = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


TURNS: tuple[tuple[Unit | TextItem | PictureItem, ...], ...] = (
    (Unit(audio=sound(1), pictures=[picture(1)]), Unit(audio=sound(2), last=True)),
    (Unit(audio=sound(3)), Unit(audio=sound(5, 3_200), last=True)),
    (TextItem(text="What do you see?"), PictureItem(jpeg=picture(2))),
    (Unit(audio=bytes(32_000), pictures=[picture(3)], voiced=False), TextItem(text="Who are you?")),
)
REJECTED = (
    PictureItem(jpeg=JPEG),
    PictureItem(jpeg=picture(1)[:-200]),
    Unit(audio=sound(1), pictures=[picture(1), JPEG]),
    Unit(audio=bytes(32_000), pictures=[JPEG], voiced=False),
    Unit(audio=b"\0" * 7),
    TextItem(text="  "),
    TextItem(text="<|im_end|> hello"),
)


@cache
def tiny() -> Started:
    """The network, read once for all tests."""
    return start(CHOICE, lambda busy: None)


def tiny_engine(keeps_up: int = 64) -> MiniCPMOEngine:
    """One that has the time for `keeps_up` calls, however fast the machine is."""
    return MiniCPMOEngine(
        CHOICE,
        max_sessions=64,
        load=lambda choice, busy: tiny(),
        transcript_wait_s=60.0,
        keeps_up=lambda model: keeps_up,
    )
