"""The language model: a Qwen2 over embeddings, with a key-value cache (specification section 4)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import LanguageConfig
from model_server.minicpmo.network.layers import KVCache, Linear, RMSNorm, finished, rotary_table, rotate
from model_server.minicpmo.network.weights import Recipe, stacked


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one sequence among those that share a forward pass."""

    start: int
    stop: int
    cache: KVCache
    mask: Tensor | None
    """[T, length + T], True where visible, or None when all is."""


class Attention(nn.Module):
    """Grouped-query attention: every key-value head serves `num_heads / num_kv_heads` query heads."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.qkv = Linear(config.hidden_size, (config.num_heads + 2 * config.num_kv_heads) * config.head_dim)
        self.out = Linear(config.num_heads * config.head_dim, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, parts: Sequence[Part], layer: int) -> Tensor:
        """x [rows, hidden], the rows of all parts one behind the other; each part sees its own cache alone."""
        rows = x.shape[0]
        qkv = self.qkv(x).view(rows, self.heads + 2 * self.kv_heads, self.head_dim).transpose(0, 1)
        q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        found = []
        for part in parts:
            here = slice(part.start, part.stop)
            keys, values = part.cache.write(layer, k[:, here], v[:, here])
            found.append(self._seen(q[:, here], keys, values, part.mask))
        return self.out(found[0] if len(found) == 1 else torch.cat(found))  # type: ignore[no-any-return]

    def _seen(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """What queries [heads, T, head_dim] of one part find: [T, heads * head_dim]."""
        # The query heads of one key-value head stand in a row, so that no key or value is repeated.
        group, steps = self.heads // self.kv_heads, q.shape[1]
        q = q.reshape(self.kv_heads, group * steps, self.head_dim)
        seen = None if mask is None else mask.repeat(group, 1)
        y = F.scaled_dot_product_attention(q[None], keys[None], values[None], attn_mask=seen)
        return y.view(self.heads, steps, self.head_dim).transpose(0, 1).reshape(steps, -1)


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

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, parts: Sequence[Part], layer: int) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, parts, layer)
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
        parts = _parts(counts, caches, x.device)
        positions = torch.cat([torch.arange(p.cache.length, p.cache.length + p.stop - p.start) for p in parts])
        cos, sin = rotary_table(positions.to(x.device), self.config.head_dim, self.config.rope_theta, x.dtype)
        for first, last in pairwise((0, *self.cuts, len(self.layers))):
            device = self._device(first)
            x, cos, sin = x.to(device), cos.to(device), sin.to(device)
            parts = [replace(p, mask=None if p.mask is None else p.mask.to(device)) for p in parts]
            for index in range(first, last):
                if index and index % layers == 0:
                    yield
                x = self.layers[index](x, cos, sin, parts, index)
        for part in parts:
            part.cache.length += part.stop - part.start
        return self.norm(x.to(self.norm.weight.device))  # type: ignore[no-any-return]

    def _device(self, layer: int) -> torch.device:
        return self.layers[layer].attention_norm.weight.device  # type: ignore[return-value, union-attr]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., vocab] in float32 of hidden states [..., hidden]."""
        return self.head(hidden).float()  # type: ignore[no-any-return]


def _parts(counts: Sequence[int], caches: Sequence[KVCache], device: torch.device) -> list[Part]:
    parts = []
    for (start, stop), cache in zip(pairwise(accumulate(counts, initial=0)), caches, strict=True):
        steps = stop - start
        cache.reserve(cache.length + steps)
        mask = None if steps == 1 else causal(cache.length, steps, device)
        parts.append(Part(start, stop, cache, mask))
    return parts


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
