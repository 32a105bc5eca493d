"""The picture tower: a SigLIP over patch grids of any shape (specification sections 2.6 and 2.7)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import VisionConfig
from model_server.minicpmo.inputs.pictures import PictureSlice
from model_server.minicpmo.network.layers import Linear, finished
from model_server.minicpmo.network.positions import position_ids
from model_server.minicpmo.network.weights import Recipe, stacked


class Attention(nn.Module):
    """Every patch of a picture sees all of its patches; softmax in float32 whatever the weights are."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.num_heads, config.hidden_size // config.num_heads
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """x [batch, patches, hidden]."""
        batch, patches, hidden = x.shape
        q, k, v = self.qkv(x).view(batch, patches, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)  # [batch, heads, patches, head_dim]
        return self.out(y.transpose(1, 2).reshape(batch, patches, hidden))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """Two products with a GELU (its tanh form) between them."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.up = Linear(config.hidden_size, config.intermediate_size)
        self.down = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Pre-norm attention and MLP, each with its residual."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = Attention(config)
        self.mlp_norm = _norm(config)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class Vision(nn.Module):
    """Patches of pictures in, one hidden state for each patch out."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = Linear(3 * config.patch_size**2, config.hidden_size)
        self.positions = nn.Parameter(torch.empty(config.grid_side**2, config.hidden_size), requires_grad=False)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers_used))
        self.norm = _norm(config)

    def forward(self, slices: Sequence[PictureSlice]) -> list[Tensor]:
        """Hidden states [rows * columns, hidden] after the last norm, one tensor for each slice.

        Slices of equal shape share a batch, so that nothing is padded and nothing masked.
        """
        return finished(self.by_groups(slices, len(self.layers)))

    def by_groups(self, slices: Sequence[PictureSlice], layers: int) -> Generator[None, None, list[Tensor]]:
        """The same, with a halt behind every so many layers and every batch."""
        found: dict[int, Tensor] = {}
        for group in same_shapes([(part.rows, part.columns) for part in slices], self.config.batch_size):
            x = self.embed([slices[number] for number in group])
            for index, layer in enumerate(self.layers):
                if index and index % layers == 0:
                    yield
                x = layer(x)
            yield
            found.update(zip(group, self.norm(x), strict=True))
        return [found[number] for number in range(len(slices))]

    def embed(self, slices: Sequence[PictureSlice]) -> Tensor:
        """Patch and position embeddings [slices, rows * columns, hidden] of slices of one shape."""
        table, first = self.positions, slices[0]
        patches = torch.stack([part.patches for part in slices]).to(table.device, table.dtype)
        ids = position_ids(first.rows, first.columns, self.config.grid_side, table.device)
        return self.patch_embedding(patches) + table[ids]  # type: ignore[no-any-return]


def same_shapes(shapes: Sequence[tuple[int, int]], most: int) -> Iterator[list[int]]:
    """Numbers of the entries that have one shape, at most `most` together."""
    by_shape: dict[tuple[int, int], list[int]] = {}
    for number, shape in enumerate(shapes):
        by_shape.setdefault(shape, []).append(number)
    for numbers in by_shape.values():
        yield from (numbers[start : start + most] for start in range(0, len(numbers), most))


def _norm(config: VisionConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, config.layer_norm_eps).requires_grad_(False)


def recipes(config: VisionConfig) -> Iterator[Recipe]:
    """How the published tensors become this part's."""
    patch = "vpm.embeddings.patch_embedding"
    yield Recipe("patch_embedding.weight", (f"{patch}.weight",), lambda kernel: kernel.flatten(1))
    yield Recipe("patch_embedding.bias", (f"{patch}.bias",))
    yield Recipe("positions", ("vpm.embeddings.position_embedding.weight",))
    for kind in ("weight", "bias"):
        yield Recipe(f"norm.{kind}", (f"vpm.post_layernorm.{kind}",))
        for i in range(config.layers_used):
            ours, theirs = f"layers.{i}", f"vpm.encoder.layers.{i}"
            yield Recipe(f"{ours}.attention_norm.{kind}", (f"{theirs}.layer_norm1.{kind}",))
            yield Recipe(f"{ours}.mlp_norm.{kind}", (f"{theirs}.layer_norm2.{kind}",))
            names = tuple(f"{theirs}.self_attn.{part}_proj.{kind}" for part in "qkv")
            yield Recipe(f"{ours}.attention.qkv.{kind}", names, stacked)
            yield Recipe(f"{ours}.attention.out.{kind}", (f"{theirs}.self_attn.out_proj.{kind}",))
            yield Recipe(f"{ours}.mlp.up.{kind}", (f"{theirs}.mlp.fc1.{kind}",))
            yield Recipe(f"{ours}.mlp.down.{kind}", (f"{theirs}.mlp.fc2.{kind}",))
