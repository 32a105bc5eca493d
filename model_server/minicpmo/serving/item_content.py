"""An item of the protocol as the content of a message; decoding happens here, beside the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_server.minicpmo.serving.jpeg import decode
from model_server.minicpmo.serving.session_settings import LAST_UNIT_SLICES, SHOWN_SLICES, SessionSettings
from model_server.minicpmo.words.prompts import UNIT, Clip
from model_server.minicpmo.words.prompts import Item as Part
from model_server.protocol import Item, PictureItem, TextItem, Unit


@dataclass(frozen=True, slots=True)
class Content:
    """Parts of a message in their order, and into how many slices its pictures may be cut."""

    parts: list[Part]
    slices: int = 1


def content_of(item: Item, settings: SessionSettings, opens_turn: bool) -> Content:
    """What is written for `item`; `opens_turn`: nothing of the person's turn was written before it.

    Raises `ItemRejected` for pictures that cannot be decoded.
    """
    before: list[Part] = [settings.task_prompt] if opens_turn and settings.task_prompt else []
    match item:
        case Unit():
            slices = LAST_UNIT_SLICES if item.last and settings.detailed else 1
            return Content([*before, *_unit(item)], slices)
        case TextItem():
            return Content([*before, item.text if opens_turn else f"\n{item.text}"])
        case PictureItem():
            return Content([*before, decode(item.jpeg)], SHOWN_SLICES if settings.detailed else 1)


def silent_content(unit: Unit) -> Content | None:
    """What is remembered of a second without speech: its newest picture, if it has one. Raises `ItemRejected`."""
    pictures = [decode(jpeg) for jpeg in unit.pictures]
    return Content([pictures[-1]]) if pictures else None


def _unit(unit: Unit) -> list[Part]:
    """One second of a video call, or of a voice call where it has no picture."""
    pictures: list[Part] = [decode(jpeg) for jpeg in unit.pictures]
    return [UNIT, *pictures, samples_of(unit.audio)] if pictures else [samples_of(unit.audio)]


def samples_of(pcm: bytes) -> Clip:
    """PCM16 LE as samples in [-1, 1]."""
    return np.frombuffer(pcm, np.dtype("<i2")).astype(np.float32) / np.float32(32_768)
