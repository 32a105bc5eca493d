"""The few layers that several parts share."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.network.cache_slots import Slot, SlotPool

Result = TypeVar("Result")

LAYERS_AT_ONCE = 4
"""Of a network; behind them another call's work may come in between."""


def finished(halting: Generator[None, None, Result]) -> Result:
    """What a computation that halts now and then comes to, all at once."""
    while True:
        try:
            next(halting)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


class Linear(nn.Module):
    """y = x Wᵀ + b, with W [out, in]. Loading may put a quantised layer of the same call in its place."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(out_features), requires_grad=False) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return F.linear(x, self.weight, self.bias)


def laid_out(weight: Tensor) -> Tensor:
    """The matrix [out, in] in the order in memory in which products with a few rows are quickest.

    One with at least as many outputs as inputs lies input by input on a CPU: measured, one row then takes 0.6 to 0.9 of
    the time and 94 rows the same. Others gain nothing.
    """
    wide = weight.dim() == 2 and weight.shape[0] >= weight.shape[1]
    if wide and weight.device.type == "cpu" and weight.dtype == torch.float32:
        return weight.t().contiguous().t()
    return weight


class RMSNorm(nn.Module):
    """Root-mean-square norm: in float32, cast to the input's dtype, then weighted in that dtype."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(size), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] to the same."""
        if x.dtype == torch.float32:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


def rotary_table(positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin [T, head_dim] of rotary position embedding (arXiv 2104.09864), angles in float32.

    The first half of sin is negated, as `rotate` wants it.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    angles = positions.float()[:, None] * (1.0 / theta**exponents)[None, :]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1).to(dtype), torch.cat((-sin, sin), dim=-1).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [heads, T, head_dim] by its positions' angles, first half against second half."""
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((second, first), dim=-1), sin)


class KVCache:
    """Keys and values of one sequence, layer by layer: in a slot of a pool, or in buffers that grow by doubling.

    One that outgrows its slot moves to buffers of its own. A forward pass writes behind `length` and moves it at its
    very end: one that fails leaves the cache as it was, and `truncate` undoes any number of positions at once.
    """

    def __init__(
        self,
        devices: list[torch.device],
        heads: int,
        head_dim: int,
        dtype: torch.dtype,
        pool: SlotPool | None = None,
    ) -> None:
        """`devices` holds one entry for each layer. A `pool` is one of such layers."""
        self.length = 0
        self.capacity = 0
        self._devices, self._dtype = devices, dtype
        self._shape, self._pool = (heads, head_dim), pool
        self.slot: Slot | None = None
        """Taken with the first position, kept as long as this lives."""
        self.keys: list[Tensor] = []  # Each [heads, capacity, head_dim].
        self.values: list[Tensor] = []

    def reserve(self, length: int) -> None:
        """Make room for `length` positions in all."""
        if length <= self.capacity:
            return
        if self._pool is not None and length <= self._pool.capacity:
            self._move_in(self._pool)
            return
        capacity = max(256, 1 << (length - 1).bit_length())
        self.keys = self._grown(self.keys, capacity)
        self.values = self._grown(self.values, capacity)
        self.capacity, self.slot = capacity, None

    def _move_in(self, pool: SlotPool) -> None:
        slot = pool.take()
        self.keys = [buffer[slot.index] for buffer in slot.block.keys]
        self.values = [buffer[slot.index] for buffer in slot.block.values]
        self.capacity, self.slot = pool.capacity, slot

    @property
    def shares_calls(self) -> bool:
        """Whether its rows may be attended to together with those of its neighbours."""
        return self.slot is not None and self._pool is not None and self._pool.one_call

    def _grown(self, old: list[Tensor], capacity: int) -> list[Tensor]:
        heads, head_dim = self._shape
        new = [torch.empty(heads, capacity, head_dim, dtype=self._dtype, device=device) for device in self._devices]
        for before, after in zip(old, new, strict=False):
            after[:, : self.length] = before[:, : self.length]
        return new

    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put k, v [heads, T, head_dim] behind the cached ones; all of the layer's, [heads, length + T, head_dim]."""
        start, end = self.length, self.length + k.shape[1]
        self.keys[layer][:, start:end] = k
        self.values[layer][:, start:end] = v
        return self.keys[layer][:, :end], self.values[layer][:, :end]

    def copy(self) -> KVCache:
        """The same positions in memory of its own, a slot of the same pool if this has one."""
        twin = KVCache(self._devices, *self._shape, self._dtype, self._pool)
        twin.take(self)
        return twin

    def take(self, other: KVCache) -> None:
        """Hold the same positions as another of such layers and nothing else."""
        self.length = 0
        self.reserve(other.length)
        for its, mine in ((other.keys, self.keys), (other.values, self.values)):
            for before, after in zip(its, mine, strict=False):
                after[:, : other.length] = before[:, : other.length]
        self.length = other.length

    def truncate(self, length: int) -> None:
        """Forget every position from `length` on."""
        self.length = min(self.length, length)
