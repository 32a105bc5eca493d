"""Whether speech has fallen silent."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 2560
"""Samples that are judged together, 107 ms."""

QUIET = 0.003
"""A block whose loudest sample stays below this is silent (specification 7.4)."""

LONG = 28_800
"""Silence of this many samples, 1.2 s at 24 kHz, ends a segment."""


class Silence:
    """Counts the silent samples at the end of what was heard."""

    def __init__(self) -> None:
        self._samples = 0

    @property
    def long(self) -> bool:
        return self._samples >= LONG

    def hear(self, samples: Tensor) -> None:
        """Further sound [n], 24 kHz, maybe none."""
        if not len(samples):
            return
        for block in torch.split(samples, BLOCK):
            quiet = bool(block.abs().max() < QUIET)
            self._samples = self._samples + len(block) if quiet else 0
