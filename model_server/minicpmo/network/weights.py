"""Recipes: how each parameter of this package's modules is made of tensors of the published checkpoint.

A part of the network (a file such as `language.py`) lists its own recipes; `checkpoint.py` reads the tensors and
follows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Prepare = Callable[..., Tensor]


def as_is(tensor: Tensor) -> Tensor:
    """The tensor itself."""
    return tensor


def stacked(*tensors: Tensor) -> Tensor:
    """One matrix of several, rows below rows: fused projections, merged heads, one table for all codebooks."""
    return torch.cat(tensors)


@dataclass(frozen=True, slots=True)
class Recipe:
    """`target` (a parameter's or buffer's name within its part) is `prepare(*sources)`."""

    target: str
    sources: tuple[str, ...]
    prepare: Prepare = as_is
