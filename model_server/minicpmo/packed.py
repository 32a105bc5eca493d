"""Linear layers for the CPU, their weights packed once for oneDNN.

Packed, a product of one row reads memory nearly twice as fast as with a plain matrix, and one of many rows computes
half again as much on two threads (`python -m tests.bench.engine`). The operators are those that PyTorch's own compiler
uses for frozen weights; where a build lacks them, layers stay plain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_server.minicpmo.layers import Linear


def available() -> bool:
    """Whether this build of PyTorch can pack."""
    return hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class PackedLinear(nn.Module):
    """y = x Wᵀ + b with W packed; float32 or bfloat16, on the CPU."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.out_features, self.in_features = linear.weight.shape
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().contiguous(), 1)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        rows = x.reshape(-1, self.in_features)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return y.view(*x.shape[:-1], self.out_features)


def pack(part: nn.Module) -> None:
    """Put a packed layer in the place of every plain one of `part`, one after the other."""
    for name, child in part.named_children():
        if type(child) is Linear:
            setattr(part, name, PackedLinear(child))
        else:
            pack(child)
