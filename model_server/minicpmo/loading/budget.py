"""How much memory the model will need, before anything is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from model_server.minicpmo.config import LanguageConfig, ModelConfig
from model_server.minicpmo.errors import DoesNotFit
from model_server.minicpmo.loading.devices import Placement
from model_server.minicpmo.loading.layout import Shape, needed_tensors, part_of
from model_server.minicpmo.loading.quantize import GROUP, MODES, QUANTISED_PARTS, bits

CACHED_POSITIONS = 8192
GIGABYTE = 10**9
HEAD = "llm.lm_head.weight"


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes by part of the network, by language layer, of the cache, and to work with while loading and running."""

    parts: Mapping[str, int]
    layer: int
    cache: int
    work: int

    @property
    def total(self) -> int:
        return sum(self.parts.values()) + self.cache + self.work

    def table(self) -> str:
        """Part by part, in gigabytes."""
        rows = {**self.parts, "cache": self.cache, "working memory": self.work, "together": self.total}
        return "\n".join(f"  {name:14} {size / GIGABYTE:7.2f} GB" for name, size in rows.items())


def budget(config: ModelConfig, dtype: torch.dtype, mode: str, positions: int = CACHED_POSITIONS) -> Budget:
    """What one copy of the network and one session of `positions` language positions need."""
    parts: dict[str, int] = {}
    layer = 0
    for name, shape in needed_tensors(config).items():
        part = part_of(name) or ""
        size = _bytes(name, shape, part, dtype, mode)
        parts[part] = parts.get(part, 0) + size
        layer += size if name.startswith("llm.model.layers.0.") else 0
    cache = cache_bytes(config.language, dtype, positions)
    return Budget(parts, layer, cache, _work(config, dtype))


def cache_bytes(config: LanguageConfig, dtype: torch.dtype, positions: int) -> int:
    """Keys and values of a session."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * positions * dtype.itemsize


def _work(config: ModelConfig, dtype: torch.dtype) -> int:
    """The largest matrix a second time, while it is prepared or quantised; later the room is the activations'."""
    return max(math.prod(shape) for shape in needed_tensors(config).values()) * dtype.itemsize


def _bytes(name: str, shape: Shape, part: str, dtype: torch.dtype, mode: str) -> int:
    count = math.prod(shape)
    if part == "vocos":
        return 4 * count
    is_matrix = len(shape) == 2 and (".layers." in name or name == HEAD)
    width = bits(mode, shape[1], name == HEAD) if is_matrix and part in QUANTISED_PARTS else 0
    if width == 4:
        return count // 2 + 2 * dtype.itemsize * count // GROUP
    if width == 8:
        return count + shape[0] * (dtype.itemsize + 2)
    return count * dtype.itemsize


def check(
    config: ModelConfig, dtype: torch.dtype, mode: str, placement: Placement, free: Mapping[torch.device, int]
) -> Budget:
    """The budget, if every device of the placement has the free bytes. Raises `DoesNotFit` with what would fit."""
    needed = budget(config, dtype, mode)
    for device in placement.devices:
        here = needed_on(needed, placement, device)
        if here > free[device]:
            advice = _advice(config, dtype, mode, sum(free[each] for each in placement.devices))
            raise DoesNotFit(
                f"{device}: needs {gigabytes(here)}, {gigabytes(free[device])} free: {advice}\n{needed.table()}"
            )
    return needed


def needed_on(needed: Budget, placement: Placement, device: torch.device) -> int:
    """Bytes on one device of a split."""
    layers, here = len(placement.layers), placement.layers.count(device)
    size = here * needed.layer + needed.cache * here // layers
    if device == placement.rest:
        size += needed.total - needed.cache - layers * needed.layer
    return size


def _advice(config: ModelConfig, dtype: torch.dtype, mode: str, free: int) -> str:
    narrower = MODES[MODES.index(mode) + 1 :]
    if dtype == torch.float32 and budget(config, torch.bfloat16, mode).total <= free:
        return "use --dtype bfloat16"
    for other in narrower:
        if budget(config, dtype, other).total <= free:
            return f"use --quantize {other}"
    return "no number format fits: use several cards (--devices cuda:0,cuda:1) or a larger one"


def gigabytes(size: int) -> str:
    """A number of bytes as it is shown."""
    return f"{size / GIGABYTE:.1f} GB"
