"""Where the rows of several segments of speech stand that share a pass, and what they find in their caches.

As of the language model's rows (see `attention`): on a processor one segment after the other, on an accelerator the
steps of segments whose caches lie in one block at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.minicpmo.network.attention import Row, Shared, in_one
from model_server.minicpmo.network.speech_state import SpeechState


@dataclass(frozen=True, slots=True)
class SpeechRows:
    """Where a segment's rows of input stand: the slots of their keys, and the slots that they see."""

    state: SpeechState
    count: int
    write: int
    first: int
    end: int
    mask: Tensor | None = None
    """[T, end - first], None when all is visible."""
    step: bool = False
    """Of a frame to be spoken, whose query is kept."""

    def seen(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        """Write k, v [heads, T, head_dim] and tell what q find: [T, hidden]."""
        keys, values = self.state.cache.keys[layer], self.state.cache.values[layer]  # [heads, slots, head_dim]
        keys[:, self.write : self.write + self.count] = k
        values[:, self.write : self.write + self.count] = v
        seen, heard = keys[:, self.first : self.end], values[:, self.first : self.end]
        y = F.scaled_dot_product_attention(q[None], seen[None], heard[None], attn_mask=self.mask)[0]
        return y.transpose(0, 1).reshape(self.count, -1)


class SpeechBatch:
    """Rows of several segments, one behind the other, and their angles [rows, head_dim]."""

    def __init__(self, cos: Tensor, sin: Tensor, parts: Sequence[SpeechRows]) -> None:
        self.cos, self.sin, self._parts = cos, sin, parts
        self._shared = _shared(parts, cos.device, cos.dtype)
        """Of all rows or of none: the steps of a pass are of one kind."""

    def seen(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        """What q [heads, rows, head_dim] find: [rows, hidden]; k and v are written into their segments."""
        for start, part in _placed(self._parts):
            if part.step and layer in part.state.watched:
                part.state.asked[part.state.steps, layer] = q[:, start]
        if self._shared:
            all_found = q.new_empty(q.shape[1], q.shape[0] * q.shape[2])
            for shared in self._shared:
                all_found[shared.rows] = shared.seen(q, k, v, layer)
            return all_found
        found = []
        for start, part in _placed(self._parts):
            here = slice(start, start + part.count)
            found.append(part.seen(q[:, here], k[:, here], v[:, here], layer))
        return found[0] if len(found) == 1 else torch.cat(found)


def _placed(parts: Sequence[SpeechRows]) -> Iterator[tuple[int, SpeechRows]]:
    start = 0
    for part in parts:
        yield start, part
        start += part.count


def _shared(parts: Sequence[SpeechRows], device: torch.device, dtype: torch.dtype) -> list[Shared]:
    """The calls that serve all parts, none if they are served apart."""
    if len(parts) < 2 or not all(part.step and part.state.cache.shares_calls for part in parts):
        return []
    lines = dict[int, list[tuple[int, list[Row]]]]()
    blocks = {}
    for number, part in enumerate(parts):
        slot = part.state.cache.slot
        assert slot is not None, "what shares calls lies in a slot"
        blocks[id(slot.block)] = slot.block
        row = Row(number, part.write, part.first, part.end)
        lines.setdefault(id(slot.block), []).append((slot.index, [row]))
    return [in_one(blocks[key], found, 1, device, dtype) for key, found in lines.items()]
