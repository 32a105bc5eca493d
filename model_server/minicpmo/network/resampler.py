"""The resampler: any number of patches to a fixed number of embeddings (specification section 2.8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import ResamplerConfig
from model_server.minicpmo.network.layers import Linear
from model_server.minicpmo.network.positions import sines
from model_server.minicpmo.network.vision import same_shapes
from model_server.minicpmo.network.weights import Recipe

EPS = 1e-6
BATCH = 16


class Resampler(nn.Module):
    """One cross-attention of learned queries to a picture's patches."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_size
        self.query = nn.Parameter(torch.empty(config.num_queries, hidden), requires_grad=False)
        self.query_norm = nn.LayerNorm(hidden, EPS).requires_grad_(False)
        self.input = Linear(config.input_size, hidden, bias=False)
        self.input_norm = nn.LayerNorm(hidden, EPS).requires_grad_(False)
        self.q = Linear(hidden, hidden)
        self.k = Linear(hidden, hidden)
        self.v = Linear(hidden, hidden)
        self.attention_out = Linear(hidden, hidden)
        self.output_norm = nn.LayerNorm(hidden, EPS).requires_grad_(False)
        self.output = Linear(hidden, hidden, bias=False)

    def forward(self, features: Sequence[Tensor], shapes: Sequence[tuple[int, int]]) -> Tensor:
        """Embeddings [N, num_queries, hidden] of N pictures' patches [rows * columns, input] of shapes (rows, columns).

        Pictures of equal shape share a batch.
        """
        y = self.query.new_empty(len(features), self.config.num_queries, self.config.hidden_size)
        for group in same_shapes(shapes, BATCH):
            together = self.resample(torch.stack([features[number] for number in group]), *shapes[group[0]])
            for number, own in zip(group, together, strict=True):
                y[number] = own
        return y

    def resample(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """[batch, num_queries, hidden] of x [batch, rows * columns, input]."""
        places = sines(rows, columns, self.config.hidden_size, x.device, x.dtype)
        x = self.input_norm(self.input(x))
        q = self._heads(self.q(self.query_norm(self.query))).expand(x.shape[0], -1, -1, -1)
        y = F.scaled_dot_product_attention(q, self._heads(self.k(x + places)), self._heads(self.v(x)))
        y = self.attention_out(y.transpose(1, 2).flatten(2))
        return self.output(self.output_norm(y))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        """[..., T, hidden] to [batch, heads, T, head_dim]."""
        return x.view(-1, x.shape[-2], self.config.num_heads, 128).transpose(1, 2)


def recipes(config: ResamplerConfig) -> Iterator[Recipe]:
    """How the published tensors become this part's."""
    yield Recipe("query", ("resampler.query",))
    yield Recipe("input.weight", ("resampler.kv_proj.weight",))
    for kind in ("weight", "bias"):
        yield Recipe(f"query_norm.{kind}", (f"resampler.ln_q.{kind}",))
        yield Recipe(f"input_norm.{kind}", (f"resampler.ln_kv.{kind}",))
        yield Recipe(f"output_norm.{kind}", (f"resampler.ln_post.{kind}",))
        yield Recipe(f"attention_out.{kind}", (f"resampler.attn.out_proj.{kind}",))
        yield Recipe(f"q.{kind}", (f"resampler.attn.in_proj_{kind}",), lambda rows: rows.chunk(3)[0].clone())
        yield Recipe(f"k.{kind}", (f"resampler.attn.in_proj_{kind}",), lambda rows: rows.chunk(3)[1].clone())
        yield Recipe(f"v.{kind}", (f"resampler.attn.in_proj_{kind}",), lambda rows: rows.chunk(3)[2].clone())
    # The published product is x @ proj, ours x @ weight.T.
    yield Recipe("output.weight", ("resampler.proj",), lambda proj: proj.t().contiguous())
