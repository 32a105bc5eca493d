"""Draws that depend on a seed, a stream and a step alone, made where the probabilities lie.

Nothing is read back and no generator runs on, so a reply draws the same whoever shares its passes, and a call that is
replayed elsewhere draws what the lost one would have drawn.
"""

from __future__ import annotations

import hashlib
from itertools import count

import torch
from torch import Tensor

from model_server.minicpmo.network.sampling import TextChooser, TextSampling, distribution, greedy
from model_server.minicpmo.network.speech_sampling import Chooser

BITS = 24
"""Of a draw: as many as float32 tells apart below 1."""


def uniform(seed: int, stream: str, step: int, place: int = 0) -> float:
    """A number in [0, 1), the same wherever and whenever it is asked for."""
    key = hashlib.blake2b(f"{seed} {stream} {step} {place}".encode(), digest_size=8).digest()
    return (int.from_bytes(key) >> (64 - BITS)) / (1 << BITS)


def picked(probabilities: Tensor, numbers: Tensor | float) -> Tensor:
    """The places [...] in probabilities [..., n] that numbers [...] in [0, 1) fall on; never one of probability 0."""
    below = probabilities.cumsum(-1)
    reached = numbers[..., None] if isinstance(numbers, Tensor) else numbers
    last = (below < below[..., -1:]).sum(-1)
    return torch.minimum((below <= reached).sum(-1), last)


def keyed_text(options: TextSampling, seed: int) -> TextChooser:
    """Draws of one reply's text; greedy where `options` say so."""
    if not options.do_sample:
        return greedy
    steps = count()
    return lambda logits: picked(distribution(logits, options), uniform(seed, "text", next(steps)))


def keyed_codes(seed: int) -> Chooser:
    """Draws of one reply's speech."""
    steps = count()

    def choose(probabilities: Tensor) -> Tensor:
        step = next(steps)
        numbers = [uniform(seed, "speech", step, place) for place in range(len(probabilities))]
        return picked(probabilities, torch.tensor(numbers, device=probabilities.device))

    return choose
