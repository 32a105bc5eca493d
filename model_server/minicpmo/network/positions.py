"""Places of patches: the learned table's rows for the picture tower, sines for the resampler."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

TABLE_SIDE = 70
"""Side of the published table of positions, which the list below belongs to."""

ONE_LOWER: dict[int, tuple[int, ...]] = {
    25: (5, 10, 15, 20),
    49: (7, 14, 35, 42),
    50: (5, 10, 15, 20, 30, 40),
    55: (11, 22, 33, 44),
    58: (29,),
    77: (55,),
    82: (41,),
    86: (43,),
    94: (47,),
    98: (7, 14, 35, 42, 56, 70, 84),
    100: (10, 20, 30, 40, 80),
    110: (11, 22, 33, 44, 66, 88),
    115: (23, 46, 69, 92),
    135: (27, 54),
    147: (21, 63, 126),
    154: (55,),
    155: (62, 124),
    164: (82,),
    165: (33, 66, 99, 132),
    166: (83,),
    172: (86,),
    175: (25, 30, 50, 55, 60, 100, 115, 140, 155),
    188: (94,),
    189: (27, 54, 108, 135),
    194: (97,),
    196: (14, 42, 56, 70, 84, 112, 140),
    200: (20, 40, 80, 120, 160),
}
"""For a side of n patches, the patches i whose bucket is floor(i * 70 / n) - 1, and not the floor itself, because the
published rule rounds in float32. Kept as data since that rounding depends on the machine's vector unit."""

LISTED_UP_TO = 200


@lru_cache(maxsize=256)
def buckets(patches: int, side: int) -> tuple[int, ...]:
    """Row (or column) of the table of positions for each of a side's `patches` (specification section 2.6)."""
    if side != TABLE_SIDE or patches > LISTED_UP_TO:
        return rounded_buckets(patches, side)
    lower = ONE_LOWER.get(patches, ())
    return tuple(i * side // patches - (i in lower) for i in range(patches))


def rounded_buckets(patches: int, side: int) -> tuple[int, ...]:
    """The same by the published arithmetic: float32 steps, as this machine's torch rounds them."""
    boundaries = torch.arange(1 / side, 1.0, 1 / side, device="cpu")
    places = torch.arange(0, 1 - 1e-6, 1 / torch.tensor(patches), device="cpu")  # type: ignore[call-overload]
    return tuple(torch.bucketize(places, boundaries, right=True).tolist())


@lru_cache(maxsize=64)
def position_ids(rows: int, columns: int, side: int, device: torch.device) -> Tensor:
    """Rows [rows * columns] of the learned table [side * side, hidden], for patches in row-major order."""
    down = torch.tensor(buckets(rows, side), device=device)
    across = torch.tensor(buckets(columns, side), device=device)
    return (down[:, None] * side + across[None, :]).flatten()


@lru_cache(maxsize=8)  # Each takes up to 15 MB at the published width.
def sines(rows: int, columns: int, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Position embedding [rows * columns, size] of whole patch numbers: the column's half first, then the row's.

    Computed in float32 (specification section 2.8).
    """
    across, down = axis_sines(columns, size // 2), axis_sines(rows, size // 2)
    both = torch.cat((across.expand(rows, -1, -1), down[:, None].expand(-1, columns, -1)), dim=-1)
    return both.reshape(rows * columns, size).to(device, dtype)


def axis_sines(count: int, size: int) -> Tensor:
    """[count, size]: sines of 0, 1, ... in size / 2 wavelengths, then the cosines."""
    frequencies = 1.0 / 10000.0 ** (torch.arange(size // 2, dtype=torch.float32, device="cpu") / (size // 2))
    angles = torch.arange(count, dtype=torch.float32, device="cpu")[:, None] * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
