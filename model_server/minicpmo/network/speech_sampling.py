"""How a frame of codes is drawn from the speech model's logits (specification section 8.4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from model_server.minicpmo.config import SpeechConfig

Chooser = Callable[[Tensor], Tensor]
"""One code of each codebook [codebooks], of their probabilities [codebooks, codes]."""

TEMPERATURES = (0.1, 0.3)
"""Of the coarse and the fine codebook of each group."""

LEAST_STEPS = 10
"""Steps of a call that may not end the speech."""

LEAST_KEPT = 3
"""Codes that either filter leaves."""

PENALTY_FRAMES = 16
"""Frames the repetition penalty looks back."""


def argmax(probabilities: Tensor) -> Tensor:
    """The most probable code of each codebook."""
    return probabilities.argmax(-1)


def drawing_codes(generator: torch.Generator) -> Chooser:
    """Draws by probability: one multinomial draw over all codebooks for each frame."""

    def draw(probabilities: Tensor) -> Tensor:
        # A generator draws on its own device only.
        drawn = torch.multinomial(probabilities.to(generator.device), 1, generator=generator)[:, 0]
        return drawn.to(probabilities.device)

    return draw


def frame_probabilities(config: SpeechConfig, logits: Tensor, frames: Tensor, first: bool, may_end: bool) -> Tensor:
    """Probabilities [codebooks, codes] of the next frame, of float32 logits [codebooks, codes].

    `frames` [m, codebooks] are those before it; at the `first` step of a segment nothing is filtered.
    """
    scores = logits / temperatures(config.num_codebooks, logits.device)
    if not first:
        if config.repetition_penalty != 1.0:
            scores = penalised(scores, frames[-PENALTY_FRAMES:], config.repetition_penalty)
        scores = keep_top_k(keep_top_p(scores, config.top_p), config.top_k)
    if not may_end:
        scores[:, config.eos_code] = -torch.inf
    return scores.softmax(-1)


@cache
def temperatures(codebooks: int, device: torch.device) -> Tensor:
    """Temperature of each codebook, [codebooks, 1]."""
    return torch.tensor([TEMPERATURES[index % 2] for index in range(codebooks)], device=device)[:, None]


def penalised(scores: Tensor, frames: Tensor, penalty: float) -> Tensor:
    """Scores [codebooks, codes] made smaller by penalty ** (how often the code stands in frames [m, codebooks])."""
    counts = torch.zeros_like(scores).scatter_add_(1, frames.T, torch.ones_like(frames.T, dtype=scores.dtype))
    factors = penalty**counts
    return torch.where(scores < 0, scores * factors, scores / factors)


def keep_top_p(scores: Tensor, top_p: float) -> Tensor:
    """Drop the least probable codes that together have at most 1 - top_p, but none of the best three."""
    ascending, order = scores.sort(dim=-1)
    dropped = ascending.softmax(-1).cumsum(-1) <= 1 - top_p
    dropped[:, -LEAST_KEPT:] = False
    return scores.masked_fill(dropped.scatter(1, order, dropped), -torch.inf)


def keep_top_k(scores: Tensor, top_k: int) -> Tensor:
    """Drop what is below the top_k-th best, but at least three stay."""
    kept = min(max(top_k, LEAST_KEPT), scores.shape[-1])
    return scores.masked_fill(scores < scores.topk(kept).values[:, -1:], -torch.inf)
