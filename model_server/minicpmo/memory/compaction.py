"""Takes positions out of a key-value cache: what stays moves up, and its keys turn to their new positions.

A key holds its position as a rotation (arXiv 2104.09864), so that one more rotation, by the difference of the two
angles, moves it. The angles are those that the network itself rounds to float32, their difference is taken in float64
and the key is turned in float32, once for each eviction: in float32 the key then is, to a few rounding errors, the one
that a single rotation would have given. A cache in bfloat16 is rounded anew each time.

It is done in place, a few positions at a time, so that next to no memory is needed when there may be none.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor

from model_server.minicpmo.network.layers import KVCache

Runs = Sequence[tuple[int, int]]
"""Positions [start, end), ascending and apart."""


AT_ONCE = 1024
"""Positions."""


def compact(cache: KVCache, kept: Runs, theta: float, layers: int) -> Generator[None, None, None]:
    """Keep only these positions of a cache whose keys are rotated with base `theta`.

    It halts behind every so many layers. One that is closed there is carried out to its end, for a cache of which only
    some layers have moved is none.
    """
    moved = torch.cat([torch.arange(start, end) for start, end in kept]) if kept else torch.empty(0, dtype=torch.long)
    still = int((moved == torch.arange(len(moved))).sum())  # Those in front of the first gap stand where they stood.
    waiting = _moves(cache, moved[still:], still, theta) if still < len(moved) else iter(())
    try:
        for layer, _ in enumerate(waiting, 1):
            if layer % layers == 0:
                yield
    finally:
        with torch.inference_mode():
            for _ in waiting:
                pass
        cache.length = len(moved)


def _moves(cache: KVCache, old: Tensor, to: int, theta: float) -> Iterator[None]:
    """Move layer by layer."""
    tables: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}
    for keys, values in zip(cache.keys, cache.values, strict=True):
        if keys.device not in tables:
            places = old.to(keys.device)
            tables[keys.device] = (places, *turn(places, to, keys.shape[-1], theta))
        # What is read later lies behind all that was written by then: places ascend, and nothing moves down.
        start = to
        for places, cos, sin in zip(*(torch.split(table, AT_ONCE) for table in tables[keys.device]), strict=True):
            new = slice(start, start + len(places))
            keys[:, new] = turned(keys[:, places], cos, sin)
            values[:, new] = values[:, places]
            start = new.stop
        yield


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
