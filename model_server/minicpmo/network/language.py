"""The language model: a Qwen2 over embeddings, with a key-value cache (specification section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import LanguageConfig
from model_server.minicpmo.network.layers import KVCache, Linear, RMSNorm, rotary_table, rotate
from model_server.minicpmo.network.weights import Recipe, stacked


class Attention(nn.Module):
    """Grouped-query attention: every key-value head serves `num_heads / num_kv_heads` query heads."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.qkv = Linear(config.hidden_size, (config.num_heads + 2 * config.num_kv_heads) * config.head_dim)
        self.out = Linear(config.num_heads * config.head_dim, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: KVCache, layer: int) -> Tensor:
        """x [T, hidden]; mask [T, length + T] or None when all is visible."""
        steps = x.shape[0]
        qkv = self.qkv(x).view(steps, self.heads + 2 * self.kv_heads, self.head_dim).transpose(0, 1)
        q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads))
        keys, values = cache.write(layer, rotate(k, cos, sin), v)
        # The query heads of one key-value head stand in a row, so that no key or value is repeated.
        group = self.heads // self.kv_heads
        q = rotate(q, cos, sin).reshape(self.kv_heads, group * steps, self.head_dim)
        seen = None if mask is None else mask.repeat(group, 1)
        y = F.scaled_dot_product_attention(q[None], keys[None], values[None], attn_mask=seen)
        y = y.view(self.heads, steps, self.head_dim).transpose(0, 1).reshape(steps, -1)
        return self.out(y)  # type: ignore[no-any-return]


class MLP(nn.Module):
    """SwiGLU, gate and up in one product."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Pre-norm attention and MLP, each with its residual."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: KVCache, layer: int) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, mask, cache, layer)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class Language(nn.Module):
    """Embeddings in, hidden states out; logits only of the positions that are asked for."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.cuts: tuple[int, ...] = ()  # The layers at which a next card's share begins.
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size), requires_grad=False)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.head = Linear(config.hidden_size, config.vocab_size, bias=False)

    def embed(self, ids: list[int]) -> Tensor:
        """Embeddings [T, hidden] of token ids."""
        return self.embedding[torch.tensor(ids, dtype=torch.long, device=self.embedding.device)]

    def new_cache(self) -> KVCache:
        """An empty cache beside the layers' weights."""
        devices = [self._device(index) for index in range(len(self.layers))]
        return KVCache(devices, self.config.num_kv_heads, self.config.head_dim, self.embedding.dtype)

    def forward(self, x: Tensor, cache: KVCache) -> Tensor:
        """Hidden states [T, hidden] after the last norm, of embeddings x [T, hidden] behind the cached positions."""
        start, steps = cache.length, x.shape[0]
        cache.reserve(start + steps)
        positions = torch.arange(start, start + steps, device=x.device)
        cos, sin = rotary_table(positions, self.config.head_dim, self.config.rope_theta, x.dtype)
        mask = None if steps == 1 else causal(start, steps, x.device)
        for first, last in pairwise((0, *self.cuts, len(self.layers))):
            device = self._device(first)
            x, cos, sin = x.to(device), cos.to(device), sin.to(device)
            mask = None if mask is None else mask.to(device)
            for index in range(first, last):
                x = self.layers[index](x, cos, sin, mask, cache, index)
        cache.length += steps
        return self.norm(x.to(self.norm.weight.device))  # type: ignore[no-any-return]

    def _device(self, layer: int) -> torch.device:
        return self.layers[layer].attention_norm.weight.device  # type: ignore[return-value, union-attr]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., vocab] in float32 of hidden states [..., hidden]."""
        return self.head(hidden).float()  # type: ignore[no-any-return]


def causal(start: int, steps: int, device: torch.device) -> Tensor:
    """Which of start + steps keys each of the last `steps` queries sees: [steps, start + steps], True where visible."""
    return torch.ones(steps, start + steps, dtype=torch.bool, device=device).tril(start)


def recipes(config: LanguageConfig) -> Iterator[Recipe]:
    """How the published tensors become this part's."""
    yield Recipe("embedding", ("llm.model.embed_tokens.weight",))
    yield Recipe("norm.weight", ("llm.model.norm.weight",))
    yield Recipe("head.weight", ("llm.lm_head.weight",))
    for i in range(config.num_layers):
        ours, theirs = f"layers.{i}", f"llm.model.layers.{i}"
        yield Recipe(f"{ours}.attention_norm.weight", (f"{theirs}.input_layernorm.weight",))
        yield Recipe(f"{ours}.mlp_norm.weight", (f"{theirs}.post_attention_layernorm.weight",))
        for kind in ("weight", "bias"):
            names = tuple(f"{theirs}.self_attn.{part}_proj.{kind}" for part in "qkv")
            yield Recipe(f"{ours}.attention.qkv.{kind}", names, stacked)
        yield Recipe(f"{ours}.attention.out.weight", (f"{theirs}.self_attn.o_proj.weight",))
        gate_up = tuple(f"{theirs}.mlp.{part}_proj.weight" for part in ("gate", "up"))
        yield Recipe(f"{ours}.mlp.gate_up.weight", gate_up, stacked)
        yield Recipe(f"{ours}.mlp.down.weight", (f"{theirs}.mlp.down_proj.weight",))
