from __future__ import annotations

import pytest
import torch

from model_server.minicpmo.config import ModelConfig, ResamplerConfig
from model_server.minicpmo.loading.checkpoint import Tensors, fill
from model_server.minicpmo.network.positions import sines
from model_server.minicpmo.network.resampler import Resampler, recipes


@pytest.fixture(scope="module")
def resampler(tiny_config: ModelConfig, tensors: Tensors) -> Resampler:
    with torch.device("meta"):
        part = Resampler(tiny_config.resampler)
    return fill(part, recipes(tiny_config.resampler), tensors, torch.float32)


def states(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


class Random:
    """Official tensors of any name, and torch's attention with the same weights."""

    def __init__(self, config: ResamplerConfig) -> None:
        hidden, generator = config.hidden_size, torch.Generator().manual_seed(7)
        attention = {"in_proj_weight": (3 * hidden, hidden), "in_proj_bias": (3 * hidden,)}
        attention |= {"out_proj.weight": (hidden, hidden), "out_proj.bias": (hidden,)}
        sizes = {"query": (config.num_queries, hidden), "proj": (hidden, hidden)}
        sizes |= {"kv_proj.weight": (hidden, config.input_size)}
        sizes |= {f"attn.{name}": shape for name, shape in attention.items()}
        sizes |= {f"ln_{name}.{kind}": (hidden,) for name in ("q", "kv", "post") for kind in ("weight", "bias")}
        self.tensors = {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in sizes.items()}
        with torch.device("meta"):
            self.attention = torch.nn.MultiheadAttention(hidden, hidden // 128, batch_first=True)
        self.attention.load_state_dict({name: self.tensors[f"attn.{name}"] for name in attention}, assign=True)

    def read(self, name: str, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        return self.tensors[name.removeprefix("resampler.")].to(device, dtype)

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self.tensors[f"ln_{name}.weight"], self.tensors[f"ln_{name}.bias"]
        return torch.nn.functional.layer_norm(x, weight.shape, weight, bias, 1e-6)


@torch.inference_mode()
def test_official_size_is_torchs_attention() -> None:
    config = ResamplerConfig(num_queries=8)
    assert (config.num_heads, config.hidden_size) == (28, 3584)
    given = Random(config)
    with torch.device("meta"):
        part = Resampler(config)
    ours = fill(part, recipes(config), given, torch.float32)
    x = states(12, config.input_size)
    seen = given.norm(x @ given.tensors["kv_proj.weight"].T, "kv")[None]
    keys = seen + sines(3, 4, 3584, x.device, x.dtype)
    y, _ = given.attention(given.norm(given.tensors["query"], "q")[None], keys, seen, need_weights=False)
    expected = given.norm(y, "post") @ given.tensors["proj"]
    torch.testing.assert_close(ours([x], [(3, 4)]), expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_mixed_shapes_come_back_in_order_and_as_if_alone(resampler: Resampler, tiny_config: ModelConfig) -> None:
    shapes = [(2, 3), (4, 2), (2, 3), (3, 2)]
    features = [
        states(rows * columns, tiny_config.resampler.input_size, number)
        for number, (rows, columns) in enumerate(shapes)
    ]
    together = resampler(features, shapes)
    assert together.shape == (4, tiny_config.resampler.num_queries, tiny_config.resampler.hidden_size)
    for ours, own, shape in zip(together, features, shapes, strict=True):
        torch.testing.assert_close(ours, resampler([own], [shape])[0], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_places_reach_the_keys_only(resampler: Resampler, tiny_config: ModelConfig) -> None:
    x = states(1, tiny_config.resampler.input_size).expand(6, -1)
    # All values are equal: whatever the places make of the weights, their sum is 1.
    torch.testing.assert_close(resampler([x], [(2, 3)]), resampler([x], [(3, 2)]), atol=1e-5, rtol=0)
    y = states(6, tiny_config.resampler.input_size)
    assert (resampler([y], [(2, 3)]) - resampler([y], [(3, 2)])).abs().max() > 1e-3


@torch.inference_mode()
def test_a_side_above_70_has_places_too(resampler: Resampler, tiny_config: ModelConfig) -> None:
    assert resampler([states(101, tiny_config.resampler.input_size)], [(101, 1)]).isfinite().all()
