"""Keys that move: against keys that were rotated once, and attention over what is kept against plain arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from model_server.minicpmo.memory.compaction import compact
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import KVCache, finished, rotary_table, rotate
from model_server.minicpmo.session import Session
from tests.model_server.minicpmo.memory.talking import PICTURE, layers, sound

THETA, HEADS, SIZE, LENGTH = 1e6, 2, 128, 8000
EVICTIONS = 10
BF16_BOUND = (EVICTIONS + 1) * 2**-8
"""Of the length of a key's pair: a rounding to 8 bits for the first rotation and for each eviction."""
USUAL_BF16 = 2**-7
"""What the error comes to usually (root mean square); one rounding gives 0.0012, ten evictions 0.0054."""


def filled(dtype: torch.dtype) -> tuple[KVCache, Tensor, Tensor]:
    """A cache of one layer, and its keys before their rotation and its values [heads, T, size]."""
    generator = torch.Generator().manual_seed(1)
    keys = torch.randn(HEADS, LENGTH, SIZE, generator=generator)
    values = torch.randn(HEADS, LENGTH, SIZE, generator=generator).to(dtype)
    cache = KVCache([torch.device("cpu")], HEADS, SIZE, dtype)
    cache.reserve(LENGTH)
    cache.write(0, rotated(keys, torch.arange(LENGTH)).to(dtype), values)
    cache.length = LENGTH
    return cache, keys, values


def rotated(keys: Tensor, positions: Tensor) -> Tensor:
    return rotate(keys, *rotary_table(positions, SIZE, THETA, torch.float32))


def evicted_ten_times(dtype: torch.dtype) -> tuple[KVCache, Tensor, Tensor, Tensor]:
    """Each time two runs go from the front; also the places that were kept, of the original ones."""
    cache, keys, values = filled(dtype)
    left = torch.arange(LENGTH)
    for number in range(EVICTIONS):
        runs = [(0, 40), (140 + number, 300), (700, cache.length)]
        left = torch.cat([left[start:end] for start, end in runs])
        finished(compact(cache, runs, THETA, 4))
        assert cache.length == len(left)
    return cache, keys, values, left


def test_keys_are_as_if_rotated_once_and_values_are_the_same_bits() -> None:
    cache, keys, values, left = evicted_ten_times(torch.float32)
    once = rotated(keys[:, left], torch.arange(len(left)))
    assert (cache.keys[0][:, : cache.length] - once).abs().max() < 1e-5
    assert torch.equal(cache.values[0][:, : cache.length], values[:, left])


def test_bfloat16_keys_stay_within_a_rounding_for_each_eviction() -> None:
    cache, keys, values, left = evicted_ten_times(torch.bfloat16)
    once = rotated(keys[:, left], torch.arange(len(left)))
    first, second = once.chunk(2, dim=-1)
    pair = torch.hypot(first, second).repeat(1, 1, 2)
    error = (cache.keys[0][:, : cache.length].float() - once).abs() / pair
    assert 2**-9 < float(error.max()) < BF16_BOUND
    assert float(error.pow(2).mean().sqrt()) < USUAL_BF16
    assert torch.equal(cache.values[0][:, : cache.length], values[:, left])


@pytest.mark.parametrize("runs", [[(0, LENGTH)], [], [(0, 7)], [(5, 6)]])
def test_the_edges(runs: list[tuple[int, int]]) -> None:
    cache, keys, values = filled(torch.float32)
    before = cache.keys[0][:, :LENGTH].clone()
    finished(compact(cache, runs, THETA, 4))
    left = torch.cat([torch.arange(*run) for run in runs]) if runs else torch.empty(0, dtype=torch.long)
    assert cache.length == len(left)
    if runs and runs[0][0] == 0:
        assert torch.equal(cache.keys[0][:, : cache.length], before[:, left])
    assert torch.allclose(cache.keys[0][:, : cache.length], rotated(keys[:, left], torch.arange(len(left))), atol=1e-5)
    assert torch.equal(cache.values[0][:, : cache.length], values[:, left])


def test_one_that_is_given_up_has_moved_every_layer() -> None:
    generator = torch.Generator().manual_seed(2)
    caches = [KVCache([torch.device("cpu")] * 5, HEADS, SIZE, torch.float32) for _ in range(2)]
    caches[0].reserve(300)
    for layer in range(5):
        keys, values = torch.randn(2, HEADS, 300, SIZE, generator=generator)
        caches[0].write(layer, keys, values)
    caches[0].length = 300
    caches[1].take(caches[0])
    runs = [(10, 100), (150, 300)]
    finished(compact(caches[0], runs, THETA, 2))
    halting = compact(caches[1], runs, THETA, 2)
    next(halting)
    assert not torch.equal(caches[1].keys[4][:, :240], caches[0].keys[4][:, :240])
    halting.close()
    assert caches[1].length == caches[0].length == 240
    for mine, its in zip(caches[0].keys + caches[0].values, caches[1].keys + caches[1].values, strict=True):
        assert torch.equal(mine[:, :240], its[:, :240])


def test_the_next_hidden_state_is_that_of_plain_attention_over_what_is_kept(model: MiniCPMO) -> None:
    session = Session(model)
    session.prefill("system", ["be brief"])
    for number in range(3):
        session.prefill("user", [PICTURE, sound(number)])
    runs = [(0, 20), (60, 150), (170, session.length)]
    with torch.inference_mode():
        finished(compact(session.cache, runs, model.config.language.rope_theta, 4))
        row = model.language.embed([300])
        expected = plain(model, row, list(layers(session)))
        got = model.language(row, session.cache)
    assert session.length == sum(end - start for start, end in runs) + 1
    assert torch.allclose(got, expected, atol=1e-5)


def plain(model: MiniCPMO, x: Tensor, cached: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The hidden state [1, hidden] behind cached keys and values, head by head."""
    config = model.config.language
    place = torch.tensor([cached[0][0].shape[1]])
    cos, sin = rotary_table(place, config.head_dim, config.rope_theta, torch.float32)
    layer: Any
    for layer, (keys, values) in zip(model.language.layers, cached, strict=True):
        parts = layer.attention.qkv(layer.attention_norm(x)).view(-1, config.head_dim)
        q, k, v = parts.split((config.num_heads, config.num_kv_heads, config.num_kv_heads))
        rows = []
        for head, query in enumerate(rotate(q[:, None], cos, sin)):
            group = head * config.num_kv_heads // config.num_heads
            seen = torch.cat((keys[group], rotate(k[group][None, None], cos, sin)[0]))
            weights = (seen @ query[0] / config.head_dim**0.5).softmax(0)
            rows.append(weights @ torch.cat((values[group], v[group][None])))
        x = x + layer.attention.out(torch.cat(rows)[None])
        x = x + layer.mlp(layer.mlp_norm(x))
    return model.language.norm(x)  # type: ignore[no-any-return]
