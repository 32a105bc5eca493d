"""Where frames look in their text: what the layers themselves computed, the same alone and in a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.network.speech import Speech
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.network.speech_state import SpeechState, visible_text, watched_layers
from model_server.minicpmo.network.text_looks import Looks, looks
from model_server.minicpmo.replies.steps import SpeechStep
from model_server.minicpmo.scheduling.together import run

CONFIG = SpeechConfig(
    llm_size=8,
    hidden_size=32,
    intermediate_size=16,
    num_layers=4,
    num_heads=2,
    max_positions=140,
    num_text_tokens=50,
    speaker_id=41,
    audio_bos_id=42,
    text_eos_id=43,
    reserved_text=30,
)
STEPS = 12


@pytest.fixture(scope="module")
def speech() -> Speech:
    part, generator = Speech(CONFIG), torch.Generator().manual_seed(3)
    for name, parameter in part.named_parameters():
        parameter.normal_(1.0 if "norm" in name else 0.0, 0.3, generator=generator)
    return part


def begun(speech: Speech, text: int) -> SpeechState:
    generator = torch.Generator().manual_seed(text)
    state = speech.new_state(torch.randn(CONFIG.llm_size, generator=generator))
    ids = torch.randint(0, 40, (text + 3,), generator=generator).tolist()
    state.text_length = text
    speech.prefill_text(state, ids, 0)
    return state


def stepped(speech: Speech, states: list[SpeechState], count: int = STEPS) -> list[Looks]:
    for state in states:
        speech.begin_call(state, count)
    for _ in range(count):
        outcomes, _ = run([SpeechStep(speech, state, argmax, False) for state in states])
        assert outcomes == [None] * len(states)
    found = [looks(CONFIG, state, 2) for state in states]
    return [one for one in found if one is not None]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Queries and keys of every attention of one row, in order."""
    seen: list[tuple[Tensor, Tensor]] = []
    true = F.scaled_dot_product_attention

    def spy(q: Tensor, k: Tensor, v: Tensor, **more: Any) -> Tensor:
        if q.shape[2] == 1:
            seen.append((q[0], k[0].clone()))
        return true(q, k, v, **more)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    return seen


def test_looks_are_the_attention_of_the_layers_over_the_text(
    speech: Speech, watched: list[tuple[Tensor, Tensor]]
) -> None:
    text = 9
    state = begun(speech, text)
    (found,) = stepped(speech, [state])
    assert found.places.shape == found.certainty.shape == (STEPS, CONFIG.num_heads * len(watched_layers(4)))
    for step in range(STEPS):
        slots = visible_text(CONFIG, step, text)
        for place, layer in enumerate(watched_layers(4)):
            q, k = watched[step * CONFIG.num_layers + layer]
            keys = k[:, :slots].flip(1)[:, 2 : 2 + text]  # Text slots lie in reverse; its end is no word.
            share = (q @ keys.mT * CONFIG.head_dim**-0.5)[:, 0].softmax(-1)  # [heads, tokens]
            peak = share.argmax(-1, keepdim=True)
            near = share * ((torch.arange(text) - peak).abs() <= 2)
            wanted = (near * torch.arange(text)).sum(-1) / near.sum(-1)
            heads = slice(place * CONFIG.num_heads, (place + 1) * CONFIG.num_heads)
            np.testing.assert_allclose(found.places[step, heads], wanted, atol=1e-4)
            sure = 1 - torch.special.entr(share).sum(-1) / np.log(text)
            np.testing.assert_allclose(found.certainty[step, heads], sure, atol=1e-4)


def test_alone_and_in_a_batch_they_are_the_same(speech: Speech) -> None:
    texts = [4, 9, 20]
    together = stepped(speech, [begun(speech, text) for text in texts])
    for text, mine in zip(texts, together, strict=True):
        (alone,) = stepped(speech, [begun(speech, text)])
        np.testing.assert_allclose(mine.places, alone.places, atol=1e-3)
        np.testing.assert_allclose(mine.certainty, alone.certainty, atol=1e-4)


def test_a_pass_that_is_run_again_changes_nothing(speech: Speech) -> None:
    state, twin = begun(speech, 9), begun(speech, 9)
    speech.begin_call(state, 1)
    speech.logits(state)
    assert len(state.asked) == len(watched_layers(4))
    for one in (state, twin):
        stepped(speech, [one], 3)
    assert state.asked.keys() == twin.asked.keys()


def test_a_look_at_one_token_is_certain_and_what_is_not_visible_is_not_looked_at() -> None:
    state = SpeechState(CONFIG, torch.zeros(CONFIG.hidden_size), torch.float32)
    state.text_length = 16  # As many as a head has numbers: keys that have nothing in common.
    slots = slice(CONFIG.audio_start - 18, CONFIG.audio_start - 2)
    for keys in state.cache.keys:
        keys[:, slots] = torch.eye(16).flip(0)
    tokens = [0, 3, 9, 12]
    for layer in watched_layers(CONFIG.num_layers):
        for step, token in enumerate(tokens):
            state.asked[step, layer] = 60 * torch.eye(16)[token].expand(CONFIG.num_heads, 16)
    found = looks(CONFIG, state, 2)
    assert found is not None
    np.testing.assert_allclose(found.places[:3, 0], tokens[:3], atol=1e-3)
    assert found.certainty[:3].min() > 0.99
    assert found.places[3].max() < 10, "the first step's chunk has ten tokens"
    assert found.certainty[3].max() < 0.01


def test_one_token_or_none_tells_nothing(speech: Speech) -> None:
    state = begun(speech, 9)
    assert looks(CONFIG, state, 2) is None
    stepped(speech, [state], 1)
    assert looks(CONFIG, state, 10) is None
