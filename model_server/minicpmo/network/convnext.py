"""The ConvNeXt block of the mel decoder and of the vocoder (specification section 8.7)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.network.layers import Linear
from model_server.minicpmo.network.weights import Recipe

NORM_EPS = 1e-6
KERNEL = 7
BOTH = ("weight", "bias")


class Conv(nn.Module):
    """A convolution in time that keeps the length."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, groups: int = 1, dilation: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.groups, self.dilation, self.padding = groups, dilation, dilation * (kernel - 1) // 2
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(outputs), requires_grad=False) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, T] to [B, outputs, T]."""
        return F.conv1d(x, self.weight, self.bias, 1, self.padding, self.dilation, self.groups)


class ChannelNorm(nn.Module):
    """Layer norm over the last axis."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(size), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] to the same."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, NORM_EPS)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution in time, then a scaled MLP over the channels, with a residual."""

    def __init__(self, size: int, inner: int, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise = Conv(size, size, KERNEL, groups=size, dilation=dilation)
        self.norm = ChannelNorm(size)
        self.up = Linear(size, inner)
        self.down = Linear(inner, size)
        self.scale = nn.Parameter(torch.empty(size), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, size, T] to the same."""
        y = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.down(F.gelu(self.up(y))) * self.scale
        return x + y.transpose(1, 2)  # type: ignore[no-any-return]


def block_recipes(ours: str, theirs: str, scale: str) -> Iterator[Recipe]:
    """How the published tensors of a block become this one's; `scale` is their name of the last factor."""
    names = {"depthwise": "dwconv", "norm": "norm", "up": "pwconv1", "down": "pwconv2"}
    for our, their in names.items():
        yield from paired_recipes(f"{ours}.{our}", f"{theirs}.{their}")
    yield Recipe(f"{ours}.scale", (f"{theirs}.{scale}",))


def paired_recipes(ours: str, theirs: str) -> Iterator[Recipe]:
    """Weight and bias, as they are."""
    for kind in BOTH:
        yield Recipe(f"{ours}.{kind}", (f"{theirs}.{kind}",))
