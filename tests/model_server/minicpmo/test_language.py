"""The language model against transformers' own layers, at official sizes and at the end of the context."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2RotaryEmbedding

from model_server.minicpmo.config import LanguageConfig
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.attention import Apart, Part, causal
from model_server.minicpmo.network.language import Language, Layer
from model_server.minicpmo.network.layers import KVCache, RMSNorm, rotary_table, rotate

OFFICIAL = LanguageConfig(num_layers=1, vocab_size=8)


def theirs(config: LanguageConfig) -> Qwen2Config:
    return Qwen2Config(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        num_hidden_layers=1,
        rms_norm_eps=config.rms_norm_eps,
        max_position_embeddings=config.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        attn_implementation="eager",
    )


def fill(ours: Layer, other: Qwen2DecoderLayer) -> None:
    """The same random weights for both."""
    for parameter in other.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 1.0, 0.1)
        else:
            nn.init.uniform_(parameter, -1, 1).mul_(parameter.shape[1] ** -0.5)
    attention, mlp = other.self_attn, other.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    assert ours.attention.qkv.bias is not None
    ours.attention.qkv.weight.data = torch.cat([each.weight.data for each in projections])
    ours.attention.qkv.bias.data = torch.cat([each.bias.data for each in projections])
    ours.attention.out.weight.data = attention.o_proj.weight.data
    ours.mlp.gate_up.weight.data = torch.cat((mlp.gate_proj.weight.data, mlp.up_proj.weight.data))
    ours.mlp.down.weight.data = mlp.down_proj.weight.data
    ours.attention_norm.weight.data = other.input_layernorm.weight.data
    ours.mlp_norm.weight.data = other.post_attention_layernorm.weight.data


@torch.inference_mode()
def test_a_layer_of_official_size_is_transformers() -> None:
    torch.manual_seed(2)
    with torch.device("meta"):
        shapes = Layer(OFFICIAL)
    ours, other = shapes.to_empty(device="cpu"), Qwen2DecoderLayer(theirs(OFFICIAL), 0).eval()
    fill(ours, other)
    start, steps = 9, 7
    x = torch.randn(start + steps, OFFICIAL.hidden_size)
    table = Qwen2RotaryEmbedding(theirs(OFFICIAL))(x[None], torch.arange(len(x))[None])
    mask = torch.where(causal(0, len(x), x.device), 0.0, -torch.inf)[None, None]
    golden = other(x[None], attention_mask=mask, position_embeddings=table)
    golden = (golden[0] if isinstance(golden, tuple) else golden)[0] if golden[0].dim() == 3 else golden[0]
    cache = KVCache([x.device], OFFICIAL.num_kv_heads, OFFICIAL.head_dim, x.dtype)
    cache.reserve(len(x))
    done = []
    for first, last in ((0, start), (start, len(x) - 1), (len(x) - 1, len(x))):  # Two blocks and a single step.
        cos, sin = rotary_table(torch.arange(first, last), OFFICIAL.head_dim, OFFICIAL.rope_theta, x.dtype)
        group, count = OFFICIAL.num_heads // OFFICIAL.num_kv_heads, last - first
        hidden = torch.where(causal(first, count, x.device), 0.0, -torch.inf).repeat(group, 1)
        rows = Apart([Part(0, count, cache, None if count == 1 else hidden)])
        done.append(ours(x[first:last], cos, sin, rows, 0))
        cache.length = last
    torch.testing.assert_close(torch.cat(done), golden, atol=1e-4, rtol=0)


def test_rotary_positions_up_to_the_end_of_the_context() -> None:
    positions = torch.tensor([0, 1, 4095, 8192, 32766, 32767])
    cos, sin = rotary_table(positions, OFFICIAL.head_dim, OFFICIAL.rope_theta, torch.float32)
    exact = positions.double()[:, None] / OFFICIAL.rope_theta ** (torch.arange(0, 128, 2).double() / 128)
    golden = Qwen2RotaryEmbedding(theirs(OFFICIAL))(torch.zeros(1, 6, 1), positions[None])
    assert torch.equal(cos, golden[0][0])
    assert torch.equal(sin, golden[1][0] * torch.tensor([-1.0, 1.0]).repeat_interleave(64))
    torch.testing.assert_close(cos[:, :64].double(), exact.cos(), atol=4e-3, rtol=0)  # float32 angles of up to 32767.
    torch.testing.assert_close(sin[:4, 64:].double(), exact[:4].sin(), atol=1e-3, rtol=0)


def test_a_rotation_depends_on_the_distance_alone() -> None:
    q, k = torch.randn(1, 1, 128), torch.randn(1, 1, 128)

    def score(at: int, seen: int) -> Tensor:
        cos, sin = rotary_table(torch.tensor([at, seen]), 128, 1e6, torch.float32)
        return (rotate(q, cos[:1], sin[:1]) * rotate(k, cos[1:], sin[1:])).sum()

    torch.testing.assert_close(score(32767, 32700), score(67, 0), atol=2e-2, rtol=1e-3)
    assert not torch.allclose(score(67, 0), score(66, 0), atol=1e-3)


def test_the_norm_weighs_in_the_inputs_format() -> None:
    norm = RMSNorm(64, 1e-6)
    norm.weight.data = torch.randn(64).bfloat16()
    x = torch.randn(3, 64).bfloat16() * 4
    wide = x.float()
    expected = norm.weight * (wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()).bfloat16()
    assert torch.equal(norm(x), expected)


@pytest.mark.parametrize("blocks", [(40,), (1, 39), (13, 13, 14), (39, 1)])
def test_blocks_add_up_to_the_whole(model: MiniCPMO, blocks: tuple[int, ...]) -> None:
    language: Language = model.language
    with torch.inference_mode():
        x = torch.randn(40, language.config.hidden_size, generator=torch.Generator().manual_seed(1)) * 0.1
        whole = language(x, language.new_cache())
        cache, parts = language.new_cache(), []
        for block in x.split(list(blocks)):  # type: ignore[no-untyped-call]
            parts.append(language(block, cache))
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-5)
    assert cache.length == 40


def test_a_cache_grows_and_forgets(model: MiniCPMO) -> None:
    language = model.language
    with torch.inference_mode():
        x = torch.randn(300, language.config.hidden_size) * 0.1
        long, short = language.new_cache(), language.new_cache()
        language(x[:250], long)
        assert long.capacity == 256
        language(x[250:], long)
        assert long.capacity == 512
        long.truncate(250)
        language(x[:250], short)
        torch.testing.assert_close(language(x[:5], long), language(x[:5], short))
        long.truncate(9999)
        assert long.length == 255
