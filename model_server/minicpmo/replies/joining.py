"""Pieces of sound made one from another by cross-fading (specification section 8.7)."""

from __future__ import annotations

import torch
from torch import Tensor

from model_server.minicpmo.errors import InputError

OVERLAP = 2048
"""Samples that a piece repeats of the one before it: 4 code frames."""


class Joiner:
    """Joins pieces [n] of sound, each beginning with `overlap` samples that the one before it ended with.

    As published a piece is held back until the next one is there; `early` gives all but the samples that can still
    change. What comes out in all is the same, bit for bit.
    """

    def __init__(self, overlap: int = OVERLAP, *, early: bool) -> None:
        self._overlap, self._early = overlap, early
        self._held: Tensor | None = None

    def feed(self, piece: Tensor) -> Tensor:
        """What can be given now, [n], maybe none. Raises `InputError` for a piece that is too short to be joined."""
        self._check(piece)
        if self._held is None:
            given, self._held = piece[:0], piece
        else:
            given, self._held = self._joined(self._held, piece)
        if not self._early:
            return given
        end = len(self._held) - self._overlap
        given, self._held = torch.cat((given, self._held[:end])), self._held[end:]
        return given

    def flush(self) -> Tensor:
        """What was held back; the next piece begins anew."""
        held, self._held = self._held, None
        return torch.zeros(0) if held is None else held

    def _check(self, piece: Tensor) -> None:
        # A later piece has to outlast the fade into it and the fade out of it.
        least = self._overlap if self._held is None else 2 * self._overlap
        if piece.dim() != 1 or len(piece) < least:
            raise InputError(f"piece: expected at least {least} samples in one row, got {tuple(piece.shape)}")

    def _joined(self, before: Tensor, piece: Tensor) -> tuple[Tensor, Tensor]:
        size = self._overlap
        end = len(before) - size
        rising = torch.arange(1, size + 1, dtype=piece.dtype, device=piece.device)
        faded = (rising.flip(0) * before[end:] + rising * piece[:size]) / (size + 1)
        return torch.cat((before[:end], faded)), piece[size:]
