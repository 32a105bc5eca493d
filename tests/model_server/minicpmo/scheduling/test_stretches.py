"""Writing in stretches: another call's speech comes in between, and what is given up has written nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model_server.minicpmo import writing
from model_server.minicpmo.errors import OrderError
from model_server.minicpmo.inputs.message import Message
from model_server.minicpmo.memory import state
from model_server.minicpmo.memory.eviction import ContextLimits
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.replies.steps import LanguageStep, Steps, Stretch
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


SPEECH = 16_000 * 29


def thirty_seconds(session: Session) -> Steps[Any]:
    """One clip, as long as the encoder hears at once."""
    noise = np.random.default_rng(5).standard_normal(SPEECH).astype(np.float32)
    return session.write_steps(session.prepare("user", [UNIT, noise * 0.1]))


def silent_second(session: Session) -> Steps[Any]:
    return session.remember_silent_steps(still(session))


def pictures_before_a_reply(session: Session) -> Steps[Any]:
    for _ in range(3):
        session.remember_silent(still(session))
    return session.reply_steps(TextSampling(max_new_tokens=3, do_sample=False), speak=False)


def told_reply(session: Session) -> Steps[Any]:
    return session.append_reply_steps([5] * 40)


def system_prompt(session: Session) -> Steps[Any]:
    return session.write_steps(session.prepare("system", ["be brief " * 20]), stays=True)


LIMITS = ContextLimits(most=720, high=700, low=400, reply=60, seconds=3)


def nearly_full(model: MiniCPMO) -> Session:
    """The next second goes in only where older ones go."""
    session = Session(model, seed=1, limits=LIMITS)
    for _ in range(6):
        session.write(second(session))
    return session


def another_second(session: Session) -> Steps[Any]:
    return session.write_steps(second(session))


def second(session: Session) -> Message:
    return session.prepare("user", [UNIT, Image.new("RGB", (64, 48)), np.zeros(16_000, np.float32)])


def still(session: Session) -> Message:
    return session.prepare("user", [UNIT, Image.new("RGB", (64, 48))])


@pytest.fixture
def by_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny network has few layers: each is a group."""
    monkeypatch.setattr(writing, "LAYERS_AT_ONCE", 1)
    monkeypatch.setattr(state, "LAYERS_AT_ONCE", 1)


@pytest.mark.parametrize(
    ("job", "least"),
    [(thirty_seconds, 5), (silent_second, 3), (pictures_before_a_reply, 2), (told_reply, 2), (system_prompt, 2)],
)
@pytest.mark.usefixtures("by_layers")
def test_between_two_passes_of_a_speaker_others_get_one_stretch(
    model: MiniCPMO, job: Callable[[Session], Steps[Any]], least: int
) -> None:
    other, speaker, batcher, done = told(model), told(model), Batcher(lambda: 0.0), list[Any]()
    batcher.pull(Running(job(other)), 5.0, done.append)
    running = Running(speaker.reply_steps(TextSampling(max_new_tokens=60, min_new_tokens=60), speak=False))
    stretches, turns = list[int](), 0
    while not done and turns < 100:
        # What the person hears is asked for again while one stretch of the other is run.
        batcher.tick()
        stretches.append(batcher.counts["Stretch.passes"])
        passes = batcher.counts["LanguageStep.passes"]
        pieces = list[Any]()
        batcher.pull(running, 0.0, pieces.append)
        while not pieces:
            batcher.tick()
        assert batcher.counts["LanguageStep.passes"] == passes + 3 or done
        turns += 1
    assert stretches[-1] >= least
    assert all(later - earlier <= 1 for earlier, later in zip([0, *stretches], stretches, strict=False))


@pytest.mark.parametrize("job", [thirty_seconds, silent_second, told_reply, system_prompt])
@pytest.mark.usefixtures("by_layers")
def test_other_work_that_is_given_up_has_written_nothing(model: MiniCPMO, job: Callable[[Session], Steps[Any]]) -> None:
    session, twin, batcher, outcomes = told(model), told(model), Batcher(), list[Any]()
    before, heard = (session.length, session.items), session.audio_cache.length
    running = Running(job(session))
    batcher.pull(running, 0.0, outcomes.append)
    batcher.tick()
    running.close()
    batcher.tick()
    assert outcomes == [None]
    assert ((session.length, session.items), session.audio_cache.length) == (before, heard)
    for each in (session, twin):
        each.prefill("user", ["go on"])
    assert torch.equal(*(each.cache.keys[-1][:, : each.length] for each in (session, twin)))


@pytest.mark.usefixtures("by_layers")
def test_calls_that_write_at_once_finish_one_after_the_other_by_due(model: MiniCPMO) -> None:
    batcher, finished, ticks = Batcher(lambda: 0.0), list[tuple[int, int]](), 0

    def finish(number: int, outcome: Any) -> None:
        finished.append((number, ticks))

    for number, due in enumerate((0.5, 0.4, 0.5, 0.3)):
        session = told(model)
        running: Running[Any] = Running(silent_second(session))
        batcher.pull(running, due, partial(finish, number))
    while batcher.waiting:
        ticks += 1
        batcher.tick()
    assert [number for number, _ in finished] == [3, 1, 0, 2]
    each = ticks // 4
    assert [tick for _, tick in finished] == [each, 2 * each, 3 * each, 4 * each]


@pytest.mark.usefixtures("by_layers")
def test_eviction_halts_between_layers_and_is_carried_out_once_it_began(model: MiniCPMO) -> None:
    hasty, patient = nearly_full(model), nearly_full(model)
    before = hasty.length
    for session, halts in ((hasty, 1), (patient, 3)):
        batcher = Batcher()
        running = Running(another_second(session))
        batcher.pull(running, 0.0, lambda outcome: None)
        for _ in range(halts):
            assert session.length == before, "some layers have moved, the others wait"
            batcher.tick()
        running.close()
        batcher.tick()
        session.write(session.prepare("user", ["go on"]))
    assert hasty.length == patient.length < before
    assert torch.equal(*(each.cache.keys[-1][:, : each.length] for each in (hasty, patient)))
