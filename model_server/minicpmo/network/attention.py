"""Attention of the rows of several sequences that share a pass: each row sees its own sequence's cache alone.

On a processor one sequence after the other is attended to, where its cache lies: nothing is copied, and nothing is
gained by doing it at once. On an accelerator, where every call has its price, rows whose caches lie in slots of one
block share a call: positions beyond a sequence's length are masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.minicpmo.network.cache_slots import Block
from model_server.minicpmo.network.layers import KVCache

MOST_STEPS = 16
"""Rows of one sequence up to which it shares a call: shorter ones are filled up to the longest."""

LENGTH_STEP = 64
"""Lengths are rounded up to a multiple: kernels want masks whose rows are aligned, and few different shapes."""

LOOSE = 2
"""Up to so many slots are looked at for each one in use: that reads less than copying those in use together."""


def in_one_call(device: torch.device) -> bool:
    """Whether rows of several sequences are better attended to at once on such a device."""
    return device.type != "cpu"


class Rows(Protocol):
    """The rows of a pass."""

    def on(self, device: torch.device) -> Rows:
        """The same with what they need on the device of the next layers."""
        ...

    def seen(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        """Write k, v [kv_heads, rows, head_dim] and tell what q [heads, rows, head_dim] find: [rows, heads * head_dim].

        The query heads of one key-value head stand in a row, so that no key or value is repeated.
        """
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one sequence among those that share a forward pass."""

    start: int
    stop: int
    cache: KVCache
    hidden: Tensor | None
    """[group * T, length + T] added to the scores: 0 where visible, -inf elsewhere; None when all is visible."""

    def on(self, device: torch.device) -> Part:
        """The same with what it needs on the device of the next layers."""
        return replace(self, hidden=None if self.hidden is None else self.hidden.to(device))


def causal(start: int, steps: int, device: torch.device) -> Tensor:
    """Which of start + steps keys each of the last `steps` queries sees: [steps, start + steps], True where visible."""
    return torch.ones(steps, start + steps, dtype=torch.bool, device=device).tril(start)


class Apart:
    """One sequence after the other."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def on(self, device: torch.device) -> Apart:
        return Apart([part.on(device) for part in self._parts])

    def seen(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        found = []
        for part in self._parts:
            here = slice(part.start, part.stop)
            keys, values = part.cache.write(layer, k[:, here], v[:, here])
            found.append(_seen_alone(q[:, here], keys, values, part.hidden))
        return found[0] if len(found) == 1 else torch.cat(found)


def _seen_alone(q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None) -> Tensor:
    heads, steps, head_dim = q.shape
    group = heads // keys.shape[0]
    q = q.reshape(keys.shape[0], group * steps, head_dim)
    y = F.scaled_dot_product_attention(q[None], keys[None], values[None], attn_mask=hidden)
    return y.view(heads, steps, head_dim).transpose(0, 1).reshape(steps, -1)


class Row(NamedTuple):
    """One row of a pass: its number, the position it is written to, and the positions [first, end) that it sees."""

    number: int
    place: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Shared:
    """The rows whose caches lie in one block. All tensors lie on the device of the layers."""

    block: Block
    looked: slice | Tensor
    """The slots that are looked at: a range of them, or their numbers [S] to be copied together."""
    span: slice
    """The positions that are looked at."""
    rows: Tensor
    """[N] number of each row in the pass."""
    slots: Tensor
    """[N] its slot."""
    places: Tensor
    """[N] the position it is written to."""
    grid: Tensor
    """[S, steps] which row of the pass asks there; any where none does."""
    cells: Tensor
    """[N] where in the flattened grid each row is."""
    hidden: Tensor
    """[S, 1, group * steps, positions] added to the scores: 0 where visible, -inf elsewhere."""

    def on(self, device: torch.device) -> Shared:
        looked = self.looked if isinstance(self.looked, slice) else self.looked.to(device)
        names = ("rows", "slots", "places", "grid", "cells", "hidden")
        return replace(self, looked=looked, **{name: getattr(self, name).to(device) for name in names})

    def seen(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        """What the rows find: [N, heads * head_dim]."""
        keys, values = self.block.keys[layer], self.block.values[layer]
        keys[self.slots, :, self.places] = k[:, self.rows].transpose(0, 1)
        values[self.slots, :, self.places] = v[:, self.rows].transpose(0, 1)
        keys, values = keys[:, :, self.span][self.looked], values[:, :, self.span][self.looked]
        heads, kv_heads, head_dim = q.shape[0], k.shape[0], q.shape[2]
        slots, steps = self.grid.shape
        asked = q[:, self.grid].view(kv_heads, heads // kv_heads, slots, steps, head_dim).permute(2, 0, 1, 3, 4)
        asked = asked.reshape(slots, kv_heads, -1, head_dim)
        y = F.scaled_dot_product_attention(asked, keys, values, attn_mask=self.hidden)
        y = y.view(slots, heads, steps, head_dim).transpose(1, 2).reshape(slots * steps, -1)
        return y[self.cells]


class Together:
    """The rows of each block at once; the rest, whose caches lie elsewhere, apart."""

    def __init__(self, shared: Sequence[Shared], rest: Sequence[Part]) -> None:
        self._shared, self._rest = shared, rest

    def on(self, device: torch.device) -> Together:
        return Together([each.on(device) for each in self._shared], [part.on(device) for part in self._rest])

    def seen(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        found = q.new_empty(q.shape[1], q.shape[0] * q.shape[2])
        for shared in self._shared:
            found[shared.rows] = shared.seen(q, k, v, layer)
        for part in self._rest:
            here = slice(part.start, part.stop)
            keys, values = part.cache.write(layer, k[:, here], v[:, here])
            found[here] = _seen_alone(q[:, here], keys, values, part.hidden)
        return found


@dataclass(frozen=True, slots=True)
class _Span:
    """A sequence's rows before it is known how they are attended to."""

    start: int
    count: int
    cache: KVCache

    @property
    def shares(self) -> bool:
        return self.cache.shares_calls and self.count <= MOST_STEPS

    def line(self) -> tuple[int, list[Row]]:
        """Its slot, and its rows."""
        length = self.cache.length
        rows = [Row(self.start + step, length + step, 0, length + step + 1) for step in range(self.count)]
        return _slot(self)[1], rows

    def part(self, group: int, device: torch.device, dtype: torch.dtype) -> Part:
        hidden = None
        if self.count > 1:
            seen = causal(self.cache.length, self.count, device).repeat(group, 1)
            hidden = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, -torch.inf)
        return Part(self.start, self.start + self.count, self.cache, hidden)


def arranged(
    counts: Sequence[int], caches: Sequence[KVCache], group: int, device: torch.device, dtype: torch.dtype
) -> Rows:
    """How the rows of sequences are attended to, with room made for them; `group` query heads have a key-value head."""
    for count, cache in zip(counts, caches, strict=True):
        cache.reserve(cache.length + count)
    starts = accumulate(counts, initial=0)
    spans = [_Span(start, *each) for start, each in zip(starts, zip(counts, caches, strict=True), strict=False)]
    sharing = [span for span in spans if span.shares]
    if len(sharing) < 2:
        return Apart([span.part(group, device, dtype) for span in spans])
    blocks: dict[int, list[_Span]] = {}
    for span in sharing:
        blocks.setdefault(id(_slot(span)[0]), []).append(span)
    shared = [
        in_one(_slot(found[0])[0], [span.line() for span in found], group, device, dtype) for found in blocks.values()
    ]
    return Together(shared, [span.part(group, device, dtype) for span in spans if not span.shares])


def _slot(span: _Span) -> tuple[Block, int]:
    slot = span.cache.slot
    assert slot is not None
    return slot.block, slot.index


def in_one(
    block: Block, lines: Sequence[tuple[int, Sequence[Row]]], group: int, device: torch.device, dtype: torch.dtype
) -> Shared:
    """One call for the rows of several slots of a block; `lines` are slots, and the rows of each."""
    used, asking = [slot for slot, _ in lines], [row for _, rows in lines for row in rows]
    low, high = min(used), max(used)
    dense = high - low < LOOSE * len(lines)
    count, steps = (high - low + 1 if dense else len(lines)), max(len(rows) for _, rows in lines)
    first = min(row.first for row in asking) // LENGTH_STEP * LENGTH_STEP
    longest = -(-max(row.end for row in asking) // LENGTH_STEP) * LENGTH_STEP
    longest = min(longest, block.keys[0].shape[2])
    places = [
        ((slot - low if dense else line) * steps + step, slot, row)
        for line, (slot, rows) in enumerate(lines)
        for step, row in enumerate(rows)
    ]
    # Where nobody asks, what comes out is not looked at; but it has to be a number.
    grid, starts, ends = [asking[0].number] * (count * steps), [first] * (count * steps), [first + 1] * (count * steps)
    for cell, _, row in places:
        grid[cell], starts[cell], ends[cell] = row.number, row.first, row.end

    def there(values: list[int]) -> Tensor:
        return torch.tensor(values, device=device)

    positions = torch.arange(first, longest, device=device)
    begins, over = (there(bounds).view(count, 1, steps, 1) for bounds in (starts, ends))
    seen = ((positions >= begins) & (positions < over)).repeat(1, 1, group, 1)
    return Shared(
        block,
        slice(low, high + 1) if dense else there(used),
        slice(first, longest),
        rows=there([row.number for _, _, row in places]),
        slots=there([slot for _, slot, _ in places]),
        places=there([row.place for _, _, row in places]),
        grid=there(grid).view(count, steps),
        cells=there([cell for cell, _, _ in places]),
        hidden=torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, -torch.inf),
    )
