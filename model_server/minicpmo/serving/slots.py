"""How many sessions fit beside a network that is loaded."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.loading import devices
from model_server.minicpmo.loading.budget import CACHED_POSITIONS, cache_bytes
from model_server.minicpmo.memory.silent_pictures import Thinning
from model_server.minicpmo.model import MiniCPMO

SPARE = 0.1
"""Share of the free memory that is left for the work of a forward pass."""

MOST_SLOTS = 1024
HEARING_POSITIONS = 2048
"""The audio encoder's cache, grown by doubling beyond its 1500."""

SPEECH_FRAMES = 2048 + 64
"""Longest segment of speech."""


def slots(model: MiniCPMO) -> int:
    """Sessions that fit into what is free now, at least one: loading has seen to that."""
    places = [next(layer.parameters()).device for layer in model.language.layers]
    free = {device: devices.memory(device).free for device in dict.fromkeys(places)}
    return fitting(session_bytes(model.config, model.language.embedding.dtype, places), free)


def fitting(needed: Mapping[torch.device, int], free: Mapping[torch.device, int]) -> int:
    """How often `needed` goes into `free`, by device, with something to spare."""
    fit = min(int(free[device] * (1 - SPARE)) // max(size, 1) for device, size in needed.items())
    return max(1, min(fit, MOST_SLOTS))


def session_bytes(config: ModelConfig, dtype: torch.dtype, layer_places: list[torch.device]) -> dict[torch.device, int]:
    """Bytes of one session with a full context on every device; all but the context stands on the last one."""
    layer = cache_bytes(config.language, dtype, min(CACHED_POSITIONS, config.language.max_positions))
    needed = dict.fromkeys(layer_places, 0)
    for device in layer_places:
        needed[device] += layer // config.language.num_layers
    audio, speech = config.audio, config.speech
    hearing = 2 * audio.num_layers * audio.hidden_size * HEARING_POSITIONS
    speaking = 2 * speech.num_layers * speech.hidden_size * (speech.audio_start + SPEECH_FRAMES)
    seeing = Thinning().most * config.resampler.num_queries * config.language.hidden_size
    needed[layer_places[-1]] += (hearing + speaking + seeing) * dtype.itemsize
    return needed
