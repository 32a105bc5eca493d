"""Weights in fewer bits: linear layers whose matrix is int8 per output row, or int4 per group of 128 inputs.

Only weights are quantised; what goes in and comes out keeps its number format. The linear layers of the language model
and of the two big encoders are; embeddings, norms, convolutions, projectors, resampler, speech and vocoder are not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.errors import DeviceError
from model_server.minicpmo.network.layers import Linear

GROUP = 128
MODES = ("none", "int8", "int4")
QUANTISED_PARTS = ("language", "vision", "audio")

ROWS_AT_ONCE = 4096
"""Rows that are wide (float32) at a time while a matrix is quantised."""

SMALLEST = torch.finfo(torch.float16).tiny
"""Of all scales: a row of zeros has one too."""

FEW_ROWS = 16
"""Up to so many rows the product straight from int8 is quicker on a CPU than widening the matrix first."""


def check_mode(mode: str) -> str:
    """Raises `DeviceError` for a mode that is none."""
    if mode not in MODES:
        raise DeviceError(f"quantize: expected one of {', '.join(MODES)}, found {mode!r}")
    return mode


def bits(mode: str, in_features: int, is_head: bool) -> int:
    """Bits for each weight of a layer, 0 for an unquantised one.

    In mode int4 the head, which picks the words, and matrices whose rows are no whole groups have 8.
    """
    if mode == "int4" and not is_head and in_features % GROUP == 0:
        return 4
    return 0 if mode == "none" else 8


class Int8Linear(nn.Module):
    """y = x (s W)ᵀ + b with W int8 [out, in] and one scale s for each row."""

    def __init__(self, in_features: int, out_features: int, bias: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(out_features, in_features, dtype=torch.int8))
        self.register_buffer("scale", torch.empty(out_features, dtype=dtype))
        self.register_buffer("ones", torch.empty(out_features, dtype=torch.bfloat16))
        self.bias = nn.Parameter(torch.empty(out_features, dtype=dtype), requires_grad=False) if bias else None
        self.weight: Tensor
        self.scale: Tensor
        self.ones: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        rows = x.reshape(-1, x.shape[-1])
        if x.device.type == "cpu" and rows.shape[0] <= FEW_ROWS:
            # The kernel is quick in bfloat16 alone, and its scales would be rounded: they are applied behind it.
            y = torch.ops.aten._weight_int8pack_mm(rows.bfloat16().contiguous(), self.weight, self.ones).to(x.dtype)
        else:
            y = F.linear(rows, self.weight.to(x.dtype))
        y = y * self.scale if self.bias is None else torch.addcmul(self.bias, y, self.scale)
        return y.view(*x.shape[:-1], -1)

    def fill(self, weight: Tensor) -> None:
        """Take over a matrix [out, in]."""
        self.weight, scale = to_int8(weight)
        self.scale = scale.to(self.scale.dtype)
        self.ones = torch.ones_like(scale, dtype=torch.bfloat16)


class Int4Linear(nn.Module):
    """y = x Wᵀ + b with W of 16 levels: two to a byte, and a scale and a smallest value for each 128 of a row."""

    def __init__(self, in_features: int, out_features: int, bias: bool, dtype: torch.dtype) -> None:
        super().__init__()
        groups = in_features // GROUP
        self.register_buffer("packed", torch.empty(out_features, in_features // 2, dtype=torch.uint8))
        self.register_buffer("scale", torch.empty(out_features, groups, dtype=dtype))
        self.register_buffer("least", torch.empty(out_features, groups, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_features, dtype=dtype), requires_grad=False) if bias else None
        self.packed: Tensor
        self.scale: Tensor
        self.least: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return F.linear(x, from_int4(self.packed, self.scale, self.least).to(x.dtype), self.bias)

    def fill(self, weight: Tensor) -> None:
        """Take over a matrix [out, in]."""
        packed, scale, least = to_int4(weight)
        self.packed, self.scale, self.least = packed, scale.to(self.scale.dtype), least.to(self.least.dtype)


def quantised(layer: Linear, mode_bits: int, dtype: torch.dtype) -> Int8Linear | Int4Linear:
    """An empty layer of 8 or 4 bits in place of `layer`, on the meta device."""
    out_features, in_features = layer.weight.shape
    kind = Int4Linear if mode_bits == 4 else Int8Linear
    with torch.device("meta"):
        return kind(in_features, out_features, layer.bias is not None, dtype)


def to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 [out, in] and scales [out] (float32) of a matrix [out, in]: the largest weight of a row becomes 127."""
    done = [_rows_to_int8(rows.float()) for rows in torch.split(weight, ROWS_AT_ONCE)]
    return torch.cat([rows for rows, _ in done]), torch.cat([scale for _, scale in done])


def _rows_to_int8(rows: Tensor) -> tuple[Tensor, Tensor]:
    scale = rows.abs().amax(dim=1).clamp(min=SMALLEST) / 127
    return (rows / scale[:, None]).round_().clamp_(-127, 127).to(torch.int8), scale


def to_int4(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bytes [out, in/2], scales and smallest values [out, in/128] (float32) of a matrix [out, in]."""
    done = [_rows_to_int4(_groups(rows.float())) for rows in torch.split(weight, ROWS_AT_ONCE)]
    packed, scale, least = zip(*done, strict=True)
    return torch.cat(packed), torch.cat(scale), torch.cat(least)


def _rows_to_int4(groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    least = groups.amin(dim=2)
    scale = ((groups.amax(dim=2) - least) / 15).clamp(min=SMALLEST)
    levels = ((groups - least[..., None]) / scale[..., None]).round_().clamp_(0, 15)
    return pack(levels.flatten(1).to(torch.uint8)), scale, least


def from_int4(packed: Tensor, scale: Tensor, least: Tensor) -> Tensor:
    """The matrix [out, in], in the scales' number format."""
    levels = _groups(unpack(packed)).to(scale.dtype)
    return torch.addcmul(least[..., None], levels, scale[..., None]).flatten(1)


def _groups(rows: Tensor) -> Tensor:
    """[out, in] as [out, in/128, 128]."""
    return rows.view(rows.shape[0], -1, GROUP)


def pack(levels: Tensor) -> Tensor:
    """Levels 0 to 15 [out, in] as bytes [out, in/2], the even input in the low half."""
    return levels[:, 0::2] | (levels[:, 1::2] << 4)


def unpack(packed: Tensor) -> Tensor:
    """The levels [out, in] of bytes [out, in/2]."""
    return torch.stack((packed & 15, packed >> 4), dim=2).flatten(1)
