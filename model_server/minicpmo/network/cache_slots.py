"""Memory of many sessions' keys and values: slots of one size, in a few contiguous blocks.

A slot is taken when a session first writes and given back when nothing refers to it any more; no other slot moves.
Blocks are added as they are needed and stay: the next calls find them. Memory of a processor is only used up where it
was written to, however large a block is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MORE_SLOTS = 4
"""Slots of a block that is added when all are taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Slots that lie side by side, layer by layer."""

    keys: list[Tensor]
    """Each [slots, heads, capacity, head_dim], on its layer's device."""
    values: list[Tensor]


class Slot:
    """One session's place in a block, until nothing refers to it."""

    def __init__(self, block: Block, number: int, index: int, returned: deque[tuple[int, int]]) -> None:
        self.block, self.index = block, index
        self._place, self._returned = (number, index), returned

    def __del__(self) -> None:
        # Called by whichever thread drops the slot last: appending is all that is safe there, and enough.
        self._returned.append(self._place)


class SlotPool:
    """Slots of `capacity` positions for caches of equal layers. They are taken on one thread and dropped on any."""

    def __init__(
        self,
        devices: Sequence[torch.device],
        heads: int,
        head_dim: int,
        dtype: torch.dtype,
        capacity: int,
        *,
        one_call: bool = False,
    ) -> None:
        """`devices` holds one entry for each layer. With `one_call` rows of several sessions are attended to at once,
        which looks at memory nobody wrote to: it is zeroed.
        """
        self.capacity, self.one_call = capacity, one_call
        self._devices, self._dtype, self._shape = list(devices), dtype, (heads, capacity, head_dim)
        self._blocks: list[Block] = []
        self._free: list[tuple[int, int]] = []
        self._returned: deque[tuple[int, int]] = deque()
        self.size = 0
        """Slots there are."""

    @property
    def taken(self) -> int:
        """Slots in use."""
        return self.size - len(self._free) - len(self._returned)

    def reserve(self, slots: int) -> None:
        """See to it that there are so many slots in all, the new ones in one block. Raises as torch does, and then
        nothing has changed.
        """
        more = slots - self.size
        if more <= 0:
            return
        block = Block(self._buffers(more), self._buffers(more))
        self._free += [(len(self._blocks), index) for index in range(more)]
        self._blocks.append(block)
        self.size += more

    def _buffers(self, slots: int) -> list[Tensor]:
        make = torch.zeros if self.one_call else torch.empty
        with torch.inference_mode(False):  # Slots outlive the computation that happens to add them.
            return [make(slots, *self._shape, dtype=self._dtype, device=device) for device in self._devices]

    def take(self) -> Slot:
        """A slot of unknown content: the lowest, so that those in use lie close together."""
        while self._returned:
            self._free.append(self._returned.popleft())
        if not self._free:
            self.reserve(self.size + MORE_SLOTS)
        number, index = place = min(self._free)
        self._free.remove(place)
        return Slot(self._blocks[number], number, index, self._returned)
