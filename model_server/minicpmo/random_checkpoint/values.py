"""Random tensors by official name, scaled so that activations stay near one."""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.loading.layout import Shape, official_tensors

NORM_MARKS = ("norm", "resampler.ln_")
EMBEDDINGS = ("embed_tokens", "emb_code", "emb_text", "resampler.query")
POSITIONS = ("position_embedding", "embed_positions")

HEAD_SPREAD = 3.0
"""Standard deviation of the logits: some choices are clear, some are not."""


class RandomTensors:
    """Tensors drawn when they are asked for; each depends on the seed, its name and the kind of device alone."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        self._shapes, self._seed = official_tensors(config), seed

    def read(self, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The tensor of that official name."""
        shape = self._shapes[name]
        if name == "vocos.head.istft.window":
            return torch.hann_window(shape[0], device=device).to(dtype)
        generator = torch.Generator(device).manual_seed(zlib.crc32(f"{self._seed} {name}".encode()))
        mean, spread = scale(name, shape)
        return torch.empty(shape, dtype=dtype, device=device).normal_(mean, spread, generator=generator)


def scale(name: str, shape: Shape) -> tuple[float, float]:
    """Mean and standard deviation of a tensor's values."""
    fixed = _fixed_scale(name)
    if fixed is not None:
        return fixed
    inputs = shape[0] if name == "resampler.proj" else math.prod(shape[1:])
    spread = HEAD_SPREAD if name == "llm.lm_head.weight" else 1.0
    return 0.0, spread / math.sqrt(inputs)


def _fixed_scale(name: str) -> tuple[float, float] | None:
    """Of everything that is no matrix or convolution."""
    if name.endswith("original0"):  # The lengths of the head's rows.
        return HEAD_SPREAD, 0.1
    if name.endswith((".bias", "_bias")):
        return 0.0, 0.02
    if any(mark in name for mark in NORM_MARKS):
        return 1.0, 0.05
    if name == "tts.dvae.coef":
        return 1.0, 0.1
    if name.endswith((".coef", ".gamma")):
        return 0.2, 0.02
    if any(mark in name for mark in POSITIONS):
        return 0.0, 0.1
    return (0.0, 1.0) if any(mark in name for mark in EMBEDDINGS) else None
