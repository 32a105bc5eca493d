"""What the tests of a session's memory say to it, and how two sessions are compared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.replies.segment import Voice
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT, Clip
from tests.model_server.minicpmo.test_interrupted import Hasty

PICTURE = Image.new("RGB", (64, 48), "teal")
OUTPUTS = 50


def sound(number: int, samples: int = 16000) -> Clip:
    """The `number`th second of what the person says."""
    return np.random.default_rng(number).uniform(-0.3, 0.3, samples).astype(np.float32)


def opened(model: MiniCPMO) -> Session:
    """A session that has had a turn."""
    session = Session(model, seed=4)
    session.prefill("system", ["be brief"])
    session.prefill("user", [UNIT, PICTURE, sound(0)])
    list(session.generate(TextSampling(max_new_tokens=6), speak=False))
    return session


def next_outputs(session: Session) -> list[int | bytes]:
    """The next 50 outputs and more: a reply with speech, then tokens."""
    session.prefill("user", [UNIT, PICTURE, sound(100)])
    pieces = list(session.generate(TextSampling(max_new_tokens=6), voice=Voice(Hasty(session.model))))
    outputs: list[int | bytes] = [*session.reply.ids, *(piece.samples.numpy().tobytes() for piece in pieces)]
    while len(outputs) < OUTPUTS:
        session.prefill("user", [sound(len(outputs))])
        list(session.generate(TextSampling(max_new_tokens=24, min_new_tokens=24), speak=False))
        outputs += session.reply.ids
    return outputs


def layers(session: Session) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values [heads, length, head_dim] of each layer."""
    for keys, values in zip(session.cache.keys, session.cache.values, strict=True):
        yield keys[:, : session.length], values[:, : session.length]
