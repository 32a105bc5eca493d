"""The audio encoder: a Whisper encoder that hears clip after clip, and its projector (specification section 3.4)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import AudioConfig
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.mel import encoded_count
from model_server.minicpmo.network.layers import KVCache, Linear, finished
from model_server.minicpmo.network.weights import Recipe, stacked

FRAMES_PER_SECOND = 50
"""Of the encoder."""


class Attention(nn.Module):
    """Every frame sees all cached frames and all of its own clip, unless a mask says less."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.num_heads, config.hidden_size // config.num_heads
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, mask: Tensor | None, cache: KVCache | None, layer: int) -> Tensor:
        """x [batch, T, hidden], a batch of 1 where there is a cache; mask [batch, 1, T, T], True where visible."""
        batch, steps, hidden = x.shape
        q, k, v = self.qkv(x).view(batch, steps, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        if cache is not None:
            keys, values = cache.write(layer, k[0], v[0])
            k, v = keys[None], values[None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # [batch, heads, T, head_dim]
        return self.out(y.transpose(1, 2).reshape(batch, steps, hidden))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """Two products with a GELU between them."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.up = Linear(config.hidden_size, config.intermediate_size)
        self.down = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Pre-norm attention and MLP, each with its residual."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = Attention(config)
        self.mlp_norm = _norm(config)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, mask: Tensor | None, cache: KVCache | None, layer: int) -> Tensor:
        x = x + self.attention(self.attention_norm(x), mask, cache, layer)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class AudioEncoder(nn.Module):
    """Log-mels in, embeddings of the language model's width out, 25 for a second."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.hidden_size, 3, padding=1).requires_grad_(False)
        self.conv2 = nn.Conv1d(config.hidden_size, config.hidden_size, 3, stride=2, padding=1).requires_grad_(False)
        self.positions = nn.Parameter(torch.empty(config.max_positions, config.hidden_size), requires_grad=False)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = _norm(config)
        self.widen = Linear(config.hidden_size, config.output_size)
        self.project_out = Linear(config.output_size, config.output_size)

    def new_cache(self) -> KVCache:
        """Nothing heard yet."""
        devices = [self.positions.device] * self.config.num_layers
        head_dim = self.config.hidden_size // self.config.num_heads
        return KVCache(devices, self.config.num_heads, head_dim, self.positions.dtype)

    def stream(self, mel: Tensor, cache: KVCache) -> Tensor:
        """Embeddings [A, output] of the next clip's mel [bins, F], heard behind the cached frames.

        A cache that would fill up is emptied first and the clip heard alone (section 3.5). Raises `InputError` for a
        mel of other bins, too short or too long; whatever is raised, the cache stays as it was.
        """
        return finished(self.stream_by_groups(mel, cache, len(self.layers)))

    def stream_by_groups(self, mel: Tensor, cache: KVCache, layers: int) -> Generator[None, None, Tensor]:
        """The same, with a halt behind every so many layers; the cache must not be touched before it is over."""
        frames = self._check(mel)
        # A full cache is replaced, not emptied: its frames must be there if this call fails.
        behind = self.new_cache() if cache.length + frames >= self.config.max_positions else cache
        embeddings = self.project((yield from self._listening(mel, behind, layers)))
        if behind is not cache:
            cache.keys, cache.values, cache.capacity, cache.length = behind.keys, behind.values, behind.capacity, 0
        cache.length += frames
        return embeddings

    def listen(self, mel: Tensor, cache: KVCache) -> Tensor:
        """Hidden states [E, hidden] of a clip's mel [bins, F]; their keys are written, the cache's length stays."""
        return finished(self._listening(mel, cache, len(self.layers)))

    def _listening(self, mel: Tensor, cache: KVCache, layers: int) -> Generator[None, None, Tensor]:
        start = cache.length
        x = self.convolve(mel[None])
        cache.reserve(start + x.shape[1])
        x = x + self.positions[start : start + x.shape[1]]
        for index, layer in enumerate(self.layers):
            if index and index % layers == 0:
                yield
            x = layer(x, None, cache, index)
        return self.norm(x)[0]  # type: ignore[no-any-return]

    def encode(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Embeddings [A, output] of each of several clips' mels [bins, F], heard apart but in one batch (section 3.6).

        Raises `InputError` as `stream` does.
        """
        counts = [self._check(mel) // self.config.pool_step for mel in mels]
        block = int(self.config.chunk_seconds * FRAMES_PER_SECOND)
        embeddings = self.project(self.hidden(mels, block)) if mels else ()
        return [row[:count] for row, count in zip(embeddings, counts, strict=True)]

    def hidden(self, mels: Sequence[Tensor], block: int | None) -> Tensor:
        """Hidden states [N, E, hidden] of mels padded to the longest; no frame sees blocks of `block` later ones."""
        longest = max(mel.shape[1] for mel in mels)
        x = self.convolve(torch.stack([F.pad(mel, (0, longest - mel.shape[1])) for mel in mels]))
        mask = None if block is None else block_mask([mel.shape[1] for mel in mels], x.shape[1], block, x.device)
        x = x + self.positions[: x.shape[1]]
        for index, layer in enumerate(self.layers):
            x = layer(x, mask, None, index)
        return self.norm(x)  # type: ignore[no-any-return]

    def convolve(self, mels: Tensor) -> Tensor:
        """[N, E, hidden] of mels [N, bins, F], zeros around each."""
        x = F.gelu(self.conv1(mels.to(self.positions.device, self.positions.dtype)))
        # Laid out row by row once, not anew by each layer.
        return F.gelu(self.conv2(x)).transpose(1, 2).contiguous()

    def project(self, hidden: Tensor) -> Tensor:
        """Embeddings [..., A, output] of hidden states [..., E, hidden]: pairs averaged, an odd last frame left out."""
        step = self.config.pool_step
        pairs = hidden.shape[-2] // step
        wide = F.relu(self.widen(hidden[..., : pairs * step, :]))
        wide = wide.view(*wide.shape[:-2], pairs, step, wide.shape[-1])
        # The mean of products is the product of the mean, at a `step`-th of the cost.
        return self.project_out(wide.mean(-2))  # type: ignore[no-any-return]

    def _check(self, mel: Tensor) -> int:
        """The encoder's frames of a mel that it can hear."""
        bins, most = self.config.num_mel_bins, self.config.max_positions
        if mel.ndim != 2 or mel.shape[0] != bins:
            raise InputError(f"mel: expected [{bins}, frames], got {list(mel.shape)}")
        frames = encoded_count(mel.shape[1])
        if not self.config.pool_step <= frames <= most:
            least = 2 * self.config.pool_step - 1
            raise InputError(f"mel: expected {least} to {2 * most} frames of 10 ms, got {mel.shape[1]}: cut the clip")
        return frames


def block_mask(mel_frames: Sequence[int], frames: int, block: int, device: torch.device) -> Tensor:
    """[N, 1, frames, frames], True where a query (row) sees a key: up to the end of its own block of `block` frames.

    The published padding rule counts mel frames although keys are half as many, so that half of a shorter clip's
    padding stays visible.
    """
    keys = torch.arange(frames, device=device)
    in_reach = keys[None, :] < (keys[:, None] // block + 1) * block
    valid = keys[None, :] < torch.tensor(mel_frames, device=device)[:, None]
    return (in_reach[None] & valid[:, None, :])[:, None]


def _norm(config: AudioConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, config.layer_norm_eps).requires_grad_(False)


def keyless_bias(q: Tensor, v: Tensor) -> Tensor:
    """The bias of a fused query-key-value product whose keys have none."""
    return torch.cat((q, torch.zeros_like(q), v))


def recipes(config: AudioConfig) -> Iterator[Recipe]:
    """How the published tensors become this part's."""
    yield Recipe("positions", ("apm.embed_positions.weight",))
    for kind in ("weight", "bias"):
        yield from (Recipe(f"{conv}.{kind}", (f"apm.{conv}.{kind}",)) for conv in ("conv1", "conv2"))
        yield Recipe(f"norm.{kind}", (f"apm.layer_norm.{kind}",))
        yield Recipe(f"widen.{kind}", (f"audio_projection_layer.linear1.{kind}",))
        yield Recipe(f"project_out.{kind}", (f"audio_projection_layer.linear2.{kind}",))
        for i in range(config.num_layers):
            yield from _layer_recipes(f"layers.{i}", f"apm.layers.{i}", kind)


def _layer_recipes(ours: str, theirs: str, kind: str) -> Iterator[Recipe]:
    yield Recipe(f"{ours}.attention_norm.{kind}", (f"{theirs}.self_attn_layer_norm.{kind}",))
    yield Recipe(f"{ours}.mlp_norm.{kind}", (f"{theirs}.final_layer_norm.{kind}",))
    parts, fuse = ("qkv", stacked) if kind == "weight" else ("qv", keyless_bias)
    names = tuple(f"{theirs}.self_attn.{part}_proj.{kind}" for part in parts)
    yield Recipe(f"{ours}.attention.qkv.{kind}", names, fuse)
    yield Recipe(f"{ours}.attention.out.{kind}", (f"{theirs}.self_attn.out_proj.{kind}",))
    yield Recipe(f"{ours}.mlp.up.{kind}", (f"{theirs}.fc1.{kind}",))
    yield Recipe(f"{ours}.mlp.down.{kind}", (f"{theirs}.fc2.{kind}",))
