"""Where in their text the frames of a call looked: attention over text alone, of a few layers, seen by who speaks it.

While a frame is computed its queries are only kept; the products with the keys of the text, which are there anyway, are
made once for all frames of a call. So it costs next to nothing, and a segment's are the same alone and in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.network.speech_state import SpeechState, visible_text

Floats = npt.NDArray[np.float32]

BESIDE = 2
"""Tokens on each side of the one that is looked at most that have a say in where that is."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Of each frame and head [frames, heads]. What cannot be told is not finite, or of no certainty."""

    places: Floats
    """Number of the token looked at, from 0 on, between two where the look is shared."""
    certainty: Floats
    """1 for a look at one token alone, 0 for one that is spread evenly over all that are visible."""


@torch.inference_mode()
def looks(config: SpeechConfig, state: SpeechState, first: int) -> Looks | None:
    """Those of the frames of the segment's last call among its tokens from slot `first` on; None if it saw no two."""
    steps = sorted({step for step, _ in state.asked})
    stops = [min(visible_text(config, step, state.text_length), state.text_length + 2) for step in steps]
    most = max(stops, default=0)
    if most - first < 2:
        return None
    layers = sorted({layer for _, layer in state.asked})
    queries = torch.stack([state.asked[step, layer] for layer in layers for step in steps])  # [L * S, heads, head_dim]
    queries = queries.view(len(layers), len(steps), *queries.shape[1:]).transpose(1, 2)
    text = slice(config.audio_start - most, config.audio_start - first)
    keys = torch.stack([state.cache.keys[layer][:, text] for layer in layers]).flip(2)  # [L, heads, tokens, head_dim]
    scores = (queries @ keys.mT).float() * config.head_dim**-0.5
    seen = torch.tensor([stop - first for stop in stops], device=scores.device)
    return _told(scores.flatten(0, 1), seen)


def _told(scores: Tensor, seen: Tensor) -> Looks:
    """Of scores [heads, steps, tokens], of which each step sees the first `seen` [steps]."""
    tokens = torch.arange(scores.shape[-1], device=scores.device)
    share = scores.masked_fill(tokens >= seen[:, None], -torch.inf).softmax(-1)
    entropy = torch.special.entr(share).sum(-1)
    certainty = 1 - entropy / seen.clamp(min=2).log()
    near = share * ((tokens - share.argmax(-1, keepdim=True)).abs() <= BESIDE)
    places = (near * tokens).sum(-1) / near.sum(-1)
    both = torch.stack((places, certainty)).transpose(1, 2).cpu().numpy()
    return Looks(both[0], both[1])
