"""Replies that share passes: the same ids and sound as alone, in few passes, whoever joins and leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.draws import keyed_codes, keyed_text
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.replies.segment import Piece, SpeechTrace, Voice
from model_server.minicpmo.scheduling.batcher import Batcher, Running
from model_server.minicpmo.scheduling.together import Failed
from model_server.minicpmo.session import Session

MARGIN = 1e-3
GREEDY = TextSampling(do_sample=False, max_new_tokens=15, min_new_tokens=15)
KINDS = ("LanguageStep", "SpeechTextStep", "SpeechStep", "SoundStep")


@dataclass
class Call:
    """One session's reply, and what was heard of it."""

    session: Session
    voice: Voice
    unsure: list[int]
    """Language steps whose two best logits lie within the margin."""
    pieces: list[Piece] = field(default_factory=list)
    outcome: Any = "running"

    @property
    def samples(self) -> Tensor:
        return torch.cat([piece.samples for piece in self.pieces])


def begun(model: MiniCPMO, number: int) -> tuple[Call, Running[Piece]]:
    session = Session(model, seed=number)
    noise = np.random.default_rng(number)
    session.prefill("system", [f"be brief, number {number}"])
    session.prefill("user", [(noise.standard_normal(16_000 + 640 * number) * 0.1).astype(np.float32)])
    unsure, steps = list[int](), iter(range(1000))

    def observe(logits: Tensor) -> None:
        step, best = next(steps), logits.topk(2).values
        if best[0] - best[1] < MARGIN:
            unsure.append(step)

    voice = Voice(argmax, forbid_end=lambda call: True, trace=SpeechTrace())
    call = Call(session, voice, unsure)
    return call, Running(session.reply_steps(GREEDY, voice=voice, observe=observe))


def pulling(batcher: Batcher, call: Call, running: Running[Piece], seconds: float | None = None) -> None:
    """Pull piece after piece, up to so much speech."""

    def told(outcome: Any) -> None:
        if isinstance(outcome, Piece):
            call.pieces.append(outcome)
            spoken = sum(len(piece.samples) for piece in call.pieces) / 24_000
            if seconds is None or spoken < seconds:
                batcher.pull(running, 0.0, told)
                return
        call.outcome = outcome

    batcher.pull(running, 0.0, told)


def passes(batcher: Batcher) -> int:
    return sum(batcher.counts[f"{kind}.passes"] for kind in KINDS)


def drive(batcher: Batcher, between: Callable[[int], None] = lambda tick: None) -> None:
    tick = 0
    while batcher.waiting:
        batcher.tick()
        tick += 1
        between(tick)


@pytest.fixture(scope="module")
def alone(model: MiniCPMO) -> list[Call]:
    """Five replies, each by itself, as `Session.generate` gives them."""
    calls = []
    for number in range(5):
        call, running = begun(model, number)
        batcher = Batcher()
        pulling(batcher, call, running)
        drive(batcher)
        calls.append(call)
    return calls


def test_by_itself_a_reply_is_bit_for_bit_that_of_generate(model: MiniCPMO, alone: list[Call]) -> None:
    session = begun(model, 2)[0].session
    voice = Voice(argmax, forbid_end=lambda call: True)
    pieces = list(session.generate(GREEDY, voice=voice))
    assert session.reply.ids == alone[2].session.reply.ids
    assert [piece.text for piece in pieces] == [piece.text for piece in alone[2].pieces]
    assert torch.equal(torch.cat([piece.samples for piece in pieces]), alone[2].samples)


def same(call: Call, alone: Call) -> None:
    """Equal up to the first step that is too close to tell, and all of it if there is none."""
    sure = alone.unsure[0] if alone.unsure else None
    assert call.session.reply.ids[:sure] == alone.session.reply.ids[:sure]
    if sure is None:
        assert call.voice.trace.calls == alone.voice.trace.calls
        frames = zip(call.voice.trace.frames, alone.voice.trace.frames, strict=True)
        if all(mine == theirs for mine, theirs in frames):
            assert (call.samples - alone.samples).abs().max() < 1e-4


def test_four_calls_seven_steps_apart_take_the_passes_of_one(model: MiniCPMO, alone: list[Call]) -> None:
    one = Batcher()
    call, running = begun(model, 0)
    pulling(one, call, running)
    drive(one)
    batcher, calls = Batcher(), [begun(model, number) for number in range(4)]
    pulling(batcher, *calls[0])

    def join(tick: int) -> None:
        if tick % 7 == 0 and tick // 7 < 4:
            pulling(batcher, *calls[tick // 7])

    drive(batcher, join)
    assert passes(batcher) <= 1.3 * passes(one)
    for number, (call, _) in enumerate(calls):
        same(call, alone[number])


@pytest.mark.parametrize("tick", [1, 9, 40])
def test_one_joins_and_one_leaves_at_any_step(model: MiniCPMO, alone: list[Call], tick: int) -> None:
    batcher, calls = Batcher(), [begun(model, number) for number in range(5)]
    for number in range(4):
        pulling(batcher, *calls[number])

    def change(now: int) -> None:
        if now == tick:
            calls[1][1].close()
            pulling(batcher, *calls[4])

    drive(batcher, change)
    for number in (0, 2, 3, 4):
        same(calls[number][0], alone[number])
    left = calls[1][0]
    assert left.outcome is None
    assert left.session.reply.ids == alone[1].session.reply.ids[: len(left.session.reply.ids)] or left.unsure
    left.session.prefill("user", ["go on"])  # It is idle again, and whole.


def test_only_who_fails_alone_fails(model: MiniCPMO, alone: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows are too much, and so is the third call by itself."""
    batcher, calls = Batcher(), [begun(model, number) for number in range(4)]
    bad, whole = calls[2][0].session, model.language.together

    def tight(x: Tensor, counts: list[int], caches: list[Any]) -> Tensor:
        if len(counts) > 2 or bad.cache in caches:
            raise torch.OutOfMemoryError("no room")
        return whole(x, counts, caches)

    monkeypatch.setattr(model.language, "together", tight)
    for each in calls:
        pulling(batcher, *each)
    drive(batcher)
    assert isinstance(calls[2][0].outcome, Failed)
    assert batcher.counts["LanguageStep.splits"] > 0
    for number in (0, 1, 3):
        same(calls[number][0], alone[number])
    monkeypatch.undo()
    retried, running = calls[2][0], Running(bad.reply_steps(GREEDY, speak=False))
    pulling(batcher, replace(retried, pieces=[]), running)
    drive(batcher)
    sure = alone[2].unsure[0] if alone[2].unsure else None
    assert bad.reply.ids[:sure] == alone[2].session.reply.ids[:sure]


def test_an_error_of_one_choice_is_that_reply_s_alone(model: MiniCPMO, alone: list[Call]) -> None:
    batcher, call = Batcher(), begun(model, 0)
    broken = begun(model, 1)[0]
    voice = Voice(lambda probabilities: argmax(probabilities) // 0)
    pulling(batcher, *call)
    pulling(batcher, broken, Running(broken.session.reply_steps(GREEDY, voice=voice)))
    drive(batcher)
    assert isinstance(broken.outcome, Failed)
    same(call[0], alone[0])


def test_who_shares_a_pass_does_not_change_what_is_drawn(model: MiniCPMO) -> None:
    """Ids and codes are drawn by key: those of three calls together equal those of each by itself."""
    options = TextSampling(min_new_tokens=6, max_new_tokens=6)

    def drawing(number: int) -> tuple[Call, Running[Piece]]:
        call, _ = begun(model, number)
        call.voice = Voice(keyed_codes(number), trace=SpeechTrace())
        choose = keyed_text(options, number)
        return call, Running(call.session.reply_steps(options, voice=call.voice, choose=choose))

    apart, together = [drawing(number) for number in range(3)], [drawing(number) for number in range(3)]
    for each in apart:
        batcher = Batcher()
        pulling(batcher, *each, 0.4)
        drive(batcher)
    batcher = Batcher()
    for each in together:
        pulling(batcher, *each, 0.4)
    drive(batcher)
    assert batcher.counts["SpeechStep.passes"] < batcher.counts["SpeechStep.steps"]
    for (mine, _), (other, _) in zip(together, apart, strict=True):
        assert mine.session.reply.ids == other.session.reply.ids
        assert mine.voice.trace.frames == other.voice.trace.frames
