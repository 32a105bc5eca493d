"""The language model: a Qwen2 over embeddings, with a key-value cache (specification section 4)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import LanguageConfig
from model_server.minicpmo.network.attention import Rows, arranged, in_one_call
from model_server.minicpmo.network.cache_slots import SlotPool
from model_server.minicpmo.network.layers import KVCache, Linear, RMSNorm, finished, rotary_table, rotate
from model_server.minicpmo.network.weights import Recipe, stacked


class Attention(nn.Module):
    """Grouped-query attention: every key-value head serves `num_heads / num_kv_heads` query heads."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.qkv = Linear(config.hidden_size, (config.num_heads + 2 * config.num_kv_heads) * config.head_dim)
        self.out = Linear(config.num_heads * config.head_dim, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, rows: Rows, layer: int) -> Tensor:
        """x [rows, hidden], the rows of all sequences one behind the other; each sees its own cache alone."""
        count = x.shape[0]
        qkv = self.qkv(x).view(count, self.heads + 2 * self.kv_heads, self.head_dim).transpose(0, 1)
        q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        return self.out(rows.seen(q, k, v, layer))  # type: ignore[no-any-return]


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

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, rows: Rows, layer: int) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, rows, layer)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class Language(nn.Module):
    """Embeddings in, hidden states out; logits only of the positions that are asked for."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.cuts: tuple[int, ...] = ()  # The layers at which a next card's share begins.
        self.pool: SlotPool | None = None
        """Slots for the caches of calls, where there are any."""
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size), requires_grad=False)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.head = Linear(config.hidden_size, config.vocab_size, bias=False)

    def embed(self, ids: list[int]) -> Tensor:
        """Embeddings [T, hidden] of token ids."""
        return self.embedding[torch.tensor(ids, dtype=torch.long, device=self.embedding.device)]

    def new_cache(self, *, slotted: bool = False) -> KVCache:
        """An empty cache beside the layers' weights; a `slotted` one takes a slot of the pool, if there is a pool."""
        return KVCache(*self._cache_shape, self.pool if slotted else None)

    def new_pool(self, capacity: int, one_call: bool | None = None) -> SlotPool:
        """Slots of `capacity` positions; whether rows share calls is told by the device if it is not said."""
        if one_call is None:
            one_call = in_one_call(self._device(0))
        return SlotPool(*self._cache_shape, capacity, one_call=one_call)

    @property
    def _cache_shape(self) -> tuple[list[torch.device], int, int, torch.dtype]:
        devices = [self._device(index) for index in range(len(self.layers))]
        return devices, self.config.num_kv_heads, self.config.head_dim, self.embedding.dtype

    def forward(self, x: Tensor, cache: KVCache) -> Tensor:
        """Hidden states [T, hidden] after the last norm, of embeddings x [T, hidden] behind the cached positions."""
        return self.together(x, [x.shape[0]], [cache])

    def together(self, x: Tensor, counts: Sequence[int], caches: Sequence[KVCache]) -> Tensor:
        """The same for several sequences in one pass: x [rows, hidden] has `counts` rows of each, one behind the other.

        One that fails leaves all caches as they were.
        """
        return finished(self.by_groups(x, counts, caches, len(self.layers)))

    def by_groups(
        self, x: Tensor, counts: Sequence[int], caches: Sequence[KVCache], layers: int
    ) -> Generator[None, None, Tensor]:
        """`together`, with a halt behind every so many layers; the caches must not be touched before it is over."""
        group = self.config.num_heads // self.config.num_kv_heads
        rows = arranged(counts, caches, group, x.device, x.dtype)
        ends = [cache.length + count for cache, count in zip(caches, counts, strict=True)]
        positions = torch.cat([torch.arange(cache.length, end) for cache, end in zip(caches, ends, strict=True)])
        cos, sin = rotary_table(positions.to(x.device), self.config.head_dim, self.config.rope_theta, x.dtype)
        for first, last in pairwise((0, *self.cuts, len(self.layers))):
            device = self._device(first)
            x, cos, sin, rows = x.to(device), cos.to(device), sin.to(device), rows.on(device)
            for index in range(first, last):
                if index and index % layers == 0:
                    yield
                x = self.layers[index](x, cos, sin, rows, index)
        for cache, end in zip(caches, ends, strict=True):
            cache.length = end
        return self.norm(x.to(self.norm.weight.device))  # type: ignore[no-any-return]

    def _device(self, layer: int) -> torch.device:
        return self.layers[layer].attention_norm.weight.device  # type: ignore[return-value, union-attr]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., vocab] in float32 of hidden states [..., hidden]."""
        return self.head(hidden).float()  # type: ignore[no-any-return]


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
