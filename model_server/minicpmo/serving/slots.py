"""How many sessions fit beside a network that is loaded, and the memory for them."""

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

SPEECH_FRAMES = 2112
"""Room for the longest segment of speech, 2048 frames and the call that it ends with. One segment at a time has any."""


def slots(model: MiniCPMO) -> int:
    """Sessions that fit into what is free now, at least one: loading has seen to that."""
    places = [next(layer.parameters()).device for layer in model.language.layers]
    free = {device: devices.memory(device).free for device in dict.fromkeys(places)}
    return fitting(session_bytes(model.config, model.language.embedding.dtype, places), free)


def furnish(model: MiniCPMO) -> None:
    """Give the network empty pools of slots, for full contexts and for the longest segments of speech."""
    model.language.pool = model.language.new_pool(positions(model.config))
    model.speech.pool = model.speech.new_pool(speech_positions(model.config))


def positions(config: ModelConfig) -> int:
    """Of a full context."""
    return min(CACHED_POSITIONS, config.language.max_positions)


def speech_positions(config: ModelConfig) -> int:
    """Of the longest segment of speech."""
    return config.speech.audio_start + SPEECH_FRAMES


def reserved(model: MiniCPMO, places: int) -> int:
    """Reserve slots for so many calls, and tell for how many there was room. A processor's memory is shared, and its
    pages are there only once they are written to: nothing is reserved there.
    """
    while places > 1:
        try:
            for pool in (model.language.pool, model.speech.pool):
                if pool is not None and pool.one_call:
                    pool.reserve(places)
            break
        except torch.OutOfMemoryError:
            places //= 2
        devices.release()  # Outside of the handler, where what was allocated before it failed is free again.
    return places


def fitting(needed: Mapping[torch.device, int], free: Mapping[torch.device, int]) -> int:
    """How often `needed` goes into `free`, by device, with something to spare."""
    fit = min(int(free[device] * (1 - SPARE)) // max(size, 1) for device, size in needed.items())
    return max(1, min(fit, MOST_SLOTS))


def session_bytes(config: ModelConfig, dtype: torch.dtype, layer_places: list[torch.device]) -> dict[torch.device, int]:
    """Bytes of one session with a full context on every device; all but the context stands on the last one."""
    layer = cache_bytes(config.language, dtype, positions(config))
    needed = dict.fromkeys(layer_places, 0)
    for device in layer_places:
        needed[device] += layer // config.language.num_layers
    audio, speech = config.audio, config.speech
    hearing = 2 * audio.num_layers * audio.hidden_size * HEARING_POSITIONS
    speaking = 2 * speech.num_layers * speech.hidden_size * speech_positions(config)
    seeing = Thinning().most * config.resampler.num_queries * config.language.hidden_size
    codes = config.speech.num_codebooks * SPEECH_FRAMES * torch.long.itemsize
    needed[layer_places[-1]] += (hearing + speaking + seeing) * dtype.itemsize + codes
    return needed
