"""Writing in stretches: another call's speech comes in between, and what is given up has written nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model_server.minicpmo.errors import OrderError
from model_server.minicpmo.inputs.message import Message
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.replies.steps import LanguageStep, Stretch
from model_server.minicpmo.scheduling.batcher import Batcher, Running
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT


def told(model: MiniCPMO) -> Session:
    session = Session(model, seed=1)
    session.prefill("user", ["so"])
    return session


def picture(session: Session) -> Message:
    """Of nine slices and the whole."""
    noise = np.random.default_rng(3)
    still = Image.fromarray(noise.integers(0, 255, (1344, 1344, 3), dtype=np.uint8))
    return session.prepare("user", [UNIT, still, np.zeros(16_000, np.float32)], 9)


def test_a_big_picture_delays_another_call_by_one_group_of_layers(model: MiniCPMO) -> None:
    writer, speaker = told(model), told(model)
    before, batcher, written = writer.length, Batcher(lambda: 0.0), list[Any]()
    writing: Running[None] = Running(writer.write_steps(picture(writer)))
    batcher.pull(writing, 5.0, written.append)
    for _ in range(3):
        batcher.tick()
    assert batcher.counts["Stretch.passes"] == 3
    running = Running(speaker.reply_steps(TextSampling(max_new_tokens=3, do_sample=False), speak=False))
    pieces = list[Any]()
    batcher.pull(running, 0.0, pieces.append)
    for tick in range(3):
        assert not pieces
        batcher.tick()
        assert batcher.counts[f"{LanguageStep.__name__}.passes"] == tick + 1
    assert len(pieces) == 1  # A whole round; not one stretch came in between.
    assert batcher.counts[f"{Stretch.__name__}.passes"] == 3
    while batcher.waiting:
        batcher.tick()
    assert batcher.counts["Stretch.passes"] == 5
    assert written == [None]
    assert writer.length > before + 640


def test_in_stretches_the_same_is_written_as_at_once(model: MiniCPMO) -> None:
    at_once, in_stretches = told(model), told(model)
    at_once.write(picture(at_once))
    batcher = Batcher()
    writing: Running[None] = Running(in_stretches.write_steps(picture(in_stretches)))
    batcher.pull(writing, 0.0, lambda outcome: None)
    while batcher.waiting:
        batcher.tick()
    assert in_stretches.length == at_once.length
    keys = [session.cache.keys[-1][:, : session.length] for session in (at_once, in_stretches)]
    assert torch.equal(*keys)


@pytest.mark.parametrize("stretches", [0, 1, 4])
def test_what_is_given_up_has_written_nothing(model: MiniCPMO, stretches: int) -> None:
    session, batcher, outcomes = told(model), Batcher(), list[Any]()
    before, heard = session.mark(), session.audio_cache.length
    running: Running[None] = Running(session.write_steps(picture(session)))
    batcher.pull(running, 0.0, outcomes.append)
    for _ in range(stretches):
        batcher.tick()
    with pytest.raises(OrderError, match="being written"):
        session.prefill("user", ["go on"])
    running.close()
    batcher.tick()
    assert outcomes == [None]
    assert not batcher.waiting
    assert (session.length, session.audio_cache.length) == (before.kv_length, heard)
    twin = told(model)
    for each in (session, twin):
        each.prefill("user", ["go on"])
    assert torch.equal(*(each.cache.keys[-1][:, : each.length] for each in (session, twin)))
