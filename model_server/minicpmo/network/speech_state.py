"""What the speech model remembers of one segment: speaker, keys and values, code frames (specification 8.1, 11.5).

Keys and values lie in one cache: the text slots in reverse order, then the audio frames. So what a step sees, the first
text slots and all of the audio, is one piece of memory, and needs neither mask nor copy. The slot of the audio BOS is
left out, as nothing ever sees it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.network.cache_slots import SlotPool
from model_server.minicpmo.network.layers import KVCache

FIRST_CAPACITY = 132
"""Frames. The fourth doubling, 2112, holds a segment of 2048 and the call it ends with."""


def watched_layers(layers: int) -> tuple[int, ...]:
    """Whose queries are kept (see `text_looks`): three of the later half, where attention is about what is said."""
    return tuple(sorted({layers // 2, layers * 2 // 3, layers * 5 // 6}))


def visible_text(config: SpeechConfig, steps: int, text_length: int) -> int:
    """How many text slots [0, ...) the step behind `steps` audio positions sees (specification 8.4).

    One chunk more with every `audio_chunk` frames, and no more than start, speaker, text and its end.
    """
    chunks = -(-(steps + 2) // config.audio_chunk)
    opened = min(chunks * config.text_chunk, config.reserved_text) + 2
    return min(opened, text_length + 3)


class SpeechState:
    """One segment of speech. Text slots that were never filled hold zeros and take part when they are visible."""

    def __init__(self, config: SpeechConfig, speaker: Tensor, dtype: torch.dtype, pool: SlotPool | None = None) -> None:
        """`speaker` [hidden] is the embedding for the speaker's slot, on the device of the speech model.

        Keys and values lie in a slot of the `pool`, if there is one.
        """
        self.speaker = speaker
        self.text_length = 0
        """Text tokens that may be seen, set by the caller with every range of text."""
        self.frames = 0
        self.finished = False
        """An end code was drawn."""
        self.watched = watched_layers(config.num_layers)
        self.asked: dict[tuple[int, int], Tensor] = {}
        """Queries [heads, head_dim] of the steps of the present call, by step and watched layer."""
        self._config = config
        self._capacity = 0
        self._codes = torch.empty(0, config.num_codebooks, dtype=torch.long, device=speaker.device)
        self.cache = KVCache([speaker.device] * config.num_layers, config.num_heads, config.head_dim, dtype, pool)
        self.reserve(FIRST_CAPACITY)
        self.steps = 0
        for buffer in (*self.cache.keys, *self.cache.values):
            buffer[:, : config.audio_start] = 0

    @property
    def kv_length(self) -> int:
        """Positions so far as the specification counts them: all text slots and every audio position."""
        return self.cache.length

    @property
    def steps(self) -> int:
        """Audio positions that were computed, the BOS included."""
        return self.cache.length - self._config.audio_start

    @steps.setter
    def steps(self, steps: int) -> None:
        self.cache.length = self._config.audio_start + steps

    @property
    def codes(self) -> Tensor:
        """All frames [m, codebooks] of the segment, those it was given as context included."""
        return self._codes[: self.frames]

    def visible(self) -> tuple[int, int]:
        """First and last + 1 slot of the buffers that the next step sees, its own frame included."""
        text = self._config.audio_start
        return text - visible_text(self._config, self.steps, self.text_length), text + self.steps

    def append(self, codes: Tensor) -> None:
        """Put frames [m, codebooks] behind those there are."""
        self.reserve(self.frames + len(codes))
        self._codes[self.frames : self.frames + len(codes)] = codes
        self.frames += len(codes)

    def reserve(self, frames: int) -> None:
        """Make room for this many audio frames in all; a later step within them copies nothing."""
        if frames <= self._capacity:
            return
        capacity = FIRST_CAPACITY
        while capacity < frames:
            capacity *= 2
        self.cache.reserve(self._config.audio_start + capacity)
        codes = torch.empty(capacity, self._codes.shape[1], dtype=torch.long, device=self._codes.device)
        codes[: self.frames] = self._codes[: self.frames]
        self._codes, self._capacity = codes, capacity

    def truncate(self, frames: int) -> None:
        """Forget every frame from number `frames` on. Raises `InputError` if there are not that many."""
        if not 0 <= frames <= self.frames:
            raise InputError(f"frames: expected 0 to {self.frames}, got {frames}")
        self.frames = self.steps = frames
        self.finished = False
        self.asked.clear()

    def text_keys(self, layer: int, slots: int) -> tuple[Tensor, Tensor]:
        """Keys and values [heads, slots, head_dim] of the first text slots in their own order."""
        end = self._config.audio_start
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        return keys[:, end - slots : end].flip(1), values[:, end - slots : end].flip(1)
