"""Takes positions out of a key-value cache: what stays moves up, and its keys turn to their new positions.

A key holds its position as a rotation (arXiv 2104.09864), so that one more rotation, by the difference of the two
angles, moves it. The angles are those that the network itself rounds to float32, their difference is taken in float64
and the key is turned in float32, once for each eviction: in float32 the key then is, to a few rounding errors, the one
that a single rotation would have given. A cache in bfloat16 is rounded anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model_server.minicpmo.network.layers import KVCache

Runs = Sequence[tuple[int, int]]
"""Positions [start, end), ascending and apart."""


def compact(cache: KVCache, kept: Runs, theta: float) -> None:
    """Keep only these positions of a cache whose keys are rotated with base `theta`."""
    moved = torch.cat([torch.arange(start, end) for start, end in kept]) if kept else torch.empty(0, dtype=torch.long)
    still = int((moved == torch.arange(len(moved))).sum())  # Those in front of the first gap stand where they stood.
    if still < len(moved):
        _move(cache, moved[still:], still, theta)
    cache.length = len(moved)


def _move(cache: KVCache, old: Tensor, to: int, theta: float) -> None:
    tables: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}
    for keys, values in zip(cache.keys, cache.values, strict=True):
        if keys.device not in tables:
            places = old.to(keys.device)
            tables[keys.device] = (places, *turn(places, to, keys.shape[-1], theta))
        places, cos, sin = tables[keys.device]
        new = slice(to, to + len(places))
        keys[:, new] = turned(keys[:, places], cos, sin)
        values[:, new] = values[:, places]


def turn(old: Tensor, to: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and sin [T, head_dim / 2] that take keys from positions `old` [T] to `to`, `to` + 1, ..., in float32."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=old.device) / head_dim
    frequencies = (1.0 / theta**exponents)[None, :]
    new = torch.arange(to, to + len(old), device=old.device)
    precise = "cpu" if old.device.type == "mps" else old.device  # That kind of device has no float64.
    before, after = ((places.float()[:, None] * frequencies).to(precise).double() for places in (old, new))
    angles = after - before
    return angles.cos().float().to(old.device), angles.sin().float().to(old.device)


def turned(keys: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Keys [heads, T, head_dim] turned by angles [T, head_dim / 2], first half against second half."""
    first, second = keys.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(keys.dtype)
