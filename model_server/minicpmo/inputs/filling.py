"""Media embeddings go where the prompt has fillers for them (specification 3.3)."""

from __future__ import annotations

from torch import Tensor


def filler_bounds(
    ids: list[int], starts: tuple[int, ...], ends: tuple[int, ...], before: int = 0
) -> list[tuple[int, int]]:
    """The spans [start, end) between start tokens and end tokens, in order; `before` ids stand in front of these."""
    first = [place + 1 for place, token in enumerate(ids, before) if token in starts]
    last = [place for place, token in enumerate(ids, before) if token in ends]
    return list(zip(first, last, strict=True))


def pour(embeddings: Tensor, bounds: list[tuple[int, int]], media: Tensor) -> None:
    """Write media embeddings [N, hidden] over the fillers in order, as many as there are."""
    done = 0
    for start, end in bounds:
        part = media[done : done + end - start]
        embeddings[start : start + len(part)] = part.to(embeddings.dtype)
        done += len(part)
