"""A piece of a message, read and checked, ready to be written: needs no device and no session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from PIL import Image
from torch import Tensor

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.mel import SAMPLE_RATE, embedding_count, log_mel
from model_server.minicpmo.inputs.pictures import SlicedPicture, slice_picture
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.words.prompts import Item, checked_text, clip_fillers, picture_fillers
from model_server.minicpmo.words.turns import Role


@dataclass(slots=True)
class Message:
    """Text with fillers where the media go, sliced pictures, at most one log-mel [bins, F]."""

    role: Role
    text: str = ""
    pictures: list[SlicedPicture] = field(default_factory=list)
    mels: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0
    """Length of its sound."""


def read_message(model: MiniCPMO, role: Role, content: Sequence[Item], max_slices: int = 1) -> Message:
    """Texts, pictures and at most one clip of 20 ms to 30 s, in their order. Raises `InputError`."""
    if role not in get_args(Role):
        raise InputError(f"role: expected one of {', '.join(get_args(Role))}, got {role!r}")
    message = Message(role)
    for item in content:
        _read(model, item, max_slices, message)
    if len(message.mels) > 1:
        raise InputError(f"content: expected at most one clip in one piece, got {len(message.mels)}: send them apart")
    return message


def _read(model: MiniCPMO, item: Item, max_slices: int, message: Message) -> None:
    if isinstance(item, str):
        message.text += checked_text(item, model.tokenizer.special_strings)
    elif isinstance(item, Image.Image):
        picture = slice_picture(item, max_slices, model.config.pictures)
        message.pictures.append(picture)
        message.text += picture_fillers(picture.grid, model.config.resampler.num_queries)
    elif isinstance(item, np.ndarray):
        message.mels.append(log_mel(item))
        message.text += clip_fillers(embedding_count(len(item)))
        message.seconds += len(item) / SAMPLE_RATE
    else:
        raise InputError(f"content: expected text, pictures and sound, got {type(item).__name__}")
