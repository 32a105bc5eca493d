"""What a session refuses, and that it is then as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model_server.minicpmo.errors import InputError, ModelError, OrderError
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.replies.behaviour import DEFAULT, PARITY
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT, Clip

SECOND: Clip = np.sin(np.arange(16000, dtype=np.float32) / 20) * np.float32(0.2)
PICTURE = Image.new("RGB", (64, 48), "teal")


def state(session: Session) -> tuple[Any, ...]:
    """All that the next call depends on."""
    heard = [keys[:, : session.audio_cache.length].clone() for keys in session.audio_cache.keys]
    return (
        session.length,
        session.audio_cache.length,
        session.turns,
        list(session._owed),
        sum(float(keys.sum()) for keys in heard),
    )


def written(model: MiniCPMO) -> Session:
    session = Session(model, seed=4)
    session.prefill("system", ["be brief"])
    session.prefill("user", [UNIT, PICTURE, SECOND])
    return session


def noise(count: int) -> Clip:
    return np.zeros(count, np.float32)


BAD: dict[str, tuple[list[Any], str]] = {
    "no sound": ([noise(0)], "0 samples"),
    "20 ms": ([noise(320)], "320"),
    "31 s": ([noise(31 * 16000)], "30 s"),
    "NaN": ([np.full(16000, np.nan, np.float32)], "NaN|finite|nan"),
    "int16 numbers": ([np.full(16000, 9000, np.float32)], "9000|100"),
    "two channels": ([np.zeros((2, 16000), np.float32)], "mono|one|1-D|dimension"),
    "two clips": ([SECOND, SECOND], "at most one clip"),
    "a list": ([[0.0, 1.0]], "expected text, pictures and sound, got list"),
    "special tokens": (["so<|im_end|>"], r"special tokens, got <\|im_end\|>"),
    "an endless picture": ([Image.new("L", (60000, 2))], "60000"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_names_the_limit_and_changes_nothing(model: MiniCPMO, name: str) -> None:
    content, says = BAD[name]
    session = written(model)
    before = state(session)
    with pytest.raises(InputError, match=says):
        session.prefill("user", [UNIT, *content])
    assert state(session) == before


def test_unknown_roles_and_slices_are_refused(model: MiniCPMO) -> None:
    session = written(model)
    before = state(session)
    with pytest.raises(InputError, match="role: expected one of system, user, assistant, got 'tool'"):
        session.prefill("tool", ["hi"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="slice"):
        session.prefill("user", [PICTURE], max_slices=0)
    assert state(session) == before


@pytest.mark.parametrize("size", [(1, 1), (10000, 10), (3, 2000)])
def test_odd_pictures_are_seen(model: MiniCPMO, size: tuple[int, int]) -> None:
    session = Session(model)
    session.prefill("user", [Image.new("RGB", size, "red")])
    assert session.length > model.config.resampler.num_queries


def test_clipped_sound_is_taken_as_it_is(model: MiniCPMO) -> None:
    session = Session(model)
    session.prefill("user", [np.clip(SECOND * 50, -1, 1)])
    assert session.audio_cache.length == 50


def test_generate_before_prefill(model: MiniCPMO) -> None:
    with pytest.raises(OrderError, match="prefill a message first"):
        Session(model).generate()


@pytest.mark.parametrize("call", [lambda s: s.prefill("user", ["no"]), lambda s: s.generate()])
def test_a_call_in_the_middle_of_a_reply(model: MiniCPMO, call: Callable[[Session], object]) -> None:
    session = written(model)
    reply = session.generate(TextSampling(max_new_tokens=30), speak=False)
    next(reply)
    with pytest.raises(OrderError, match="a reply is being given"):
        call(session)
    reply.close()
    session.prefill("user", ["yes"])


def test_the_context_has_an_end(model: MiniCPMO) -> None:
    config = replace(model.config, language=replace(model.config.language, max_positions=120))
    session = Session(replace(model, config=config))
    session.prefill("user", [PICTURE])
    before = state(session)
    with pytest.raises(InputError, match="context: expected at most 120 positions"):
        session.prefill("user", [PICTURE])
    assert state(session) == before


def test_a_forward_pass_that_fails_leaves_no_trace(model: MiniCPMO, monkeypatch: pytest.MonkeyPatch) -> None:
    session, twin = written(model), written(model)
    before = state(session)
    with monkeypatch.context() as broken:
        broken.setattr(
            model.language.layers[-1], "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory"))
        )
        with pytest.raises(RuntimeError):
            session.prefill("user", [SECOND])
        with pytest.raises(RuntimeError):
            next(session.generate(speak=False))
    assert state(session) == before
    for each in (session, twin):
        each.prefill("user", [SECOND])
    options = TextSampling(do_sample=False, max_new_tokens=9)
    replies = [[piece.text for piece in each.generate(options, speak=False)] for each in (session, twin)]
    assert replies[0] == replies[1]


def test_a_full_ear_starts_anew_and_loses_nothing_when_it_fails(model: MiniCPMO) -> None:
    session = Session(model)
    session.prefill("system", ["so"])
    for _ in range(29):
        session.prefill("user", [SECOND])
    assert session.audio_cache.length == 1450
    before = state(session)
    with pytest.raises(InputError):
        session.prefill("user", [SECOND, "<unk>"])
    assert state(session) == before
    session.prefill("user", [SECOND])
    assert session.audio_cache.length == 50


def test_a_reply_never_pulled_changes_nothing(model: MiniCPMO) -> None:
    """Mended; published, the flags change when it is asked for."""
    session = written(model)
    before = state(session)
    session.generate().close()
    assert state(session) == before
    official = Session(model, PARITY)
    official.prefill("user", ["hi"])
    turns = official.turns
    official.generate().close()
    assert official.turns != turns


def test_the_seed_repeats_a_reply_sound_and_all(model: MiniCPMO) -> None:
    def reply(seed: int) -> tuple[str, float]:
        session = Session(model, DEFAULT, seed=seed)
        session.prefill("user", [UNIT, PICTURE, SECOND])
        pieces = list(session.generate(TextSampling(max_new_tokens=12)))
        return "".join(piece.text for piece in pieces), float(sum(piece.samples.abs().sum() for piece in pieces))

    assert reply(7) == reply(7)
    assert reply(7) != reply(8)


def test_inference_mode_does_not_leak_out_of_a_reply(model: MiniCPMO) -> None:
    reply = written(model).generate(TextSampling(max_new_tokens=6), speak=False)
    next(reply)
    assert not torch.is_inference_mode_enabled()
    reply.close()


def test_every_refusal_is_of_one_family() -> None:
    assert issubclass(InputError, ModelError)
    assert issubclass(OrderError, ModelError)
