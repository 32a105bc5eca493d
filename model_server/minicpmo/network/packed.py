"""Linear layers for the CPU, their weights packed once for oneDNN.

Measured on two cores: packed for some tens of rows, products of 27 and 94 rows take 0.77 and 0.89 of the time of
weights packed for one row, four rows half of it, and next to three quarters of what one row takes by itself. So one row
is computed as four. The operators are those that PyTorch's own compiler uses for frozen weights; where a build lacks
them, layers stay plain.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from model_server.minicpmo.network.layers import Linear

MANY = 32
"""Rows that weights are packed for."""

FEW = 4
"""Fewer rows than these are filled up: a product of four is quicker than that of one."""


LEAST_SIZE = 1 << 17
"""Numbers of a matrix: a smaller one lies in the processor's cache, and the call itself costs more."""


def worthwhile(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether layers there are to be packed: in float32 on a CPU, if this build of PyTorch can."""
    able = hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return able and device.type == "cpu" and dtype == torch.float32


class PackedLinear(nn.Module):
    """y = x Wᵀ + b with W packed; float32, on the CPU."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.out_features, self.in_features = linear.weight.shape
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().contiguous(), MANY)
        self.register_buffer("weight", packed)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        rows = x.reshape(-1, self.in_features)
        count = rows.shape[0]
        if 0 < count < FEW:
            rows = torch.cat((rows, _nothing(self.in_features)[count:]))
        y: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return y[:count].view(*x.shape[:-1], self.out_features)


@cache
def _nothing(size: int) -> Tensor:
    """[FEW, size] zeros, made once: this costs half of what padding does."""
    with torch.inference_mode(False):
        return torch.zeros(FEW, size)


def pack(part: nn.Module) -> None:
    """Put a packed layer in the place of every plain one of `part` that is large, one after the other."""
    for name, child in part.named_children():
        if type(child) is Linear and child.weight.numel() >= LEAST_SIZE:
            setattr(part, name, PackedLinear(child))
        elif not isinstance(child, Linear):
            pack(child)
