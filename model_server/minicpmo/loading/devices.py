"""Where the network lives: processors and graphics cards, their memory, and which part goes to which.

The only file that speaks to `torch.cuda` and `torch.mps`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch

from model_server.minicpmo.errors import DeviceError

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
SHORT_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
AUTO = "auto"

MPS_LACKING = frozenset(
    f"aten::{name}"
    for name in (
        *("_aminmax", "_int_mm", "_masked_softmax", "_scaled_dot_product_flash_attention_for_cpu", "_scaled_mm"),
        *("_convert_weight_to_int4pack_for_cpu", "_weight_int4pack_mm_for_cpu", "_linalg_eigh", "_linalg_svd"),
        *("binomial", "channel_shuffle", "frexp", "geqrf", "heaviside", "linalg_eig", "linalg_lstsq"),
        *("linalg_lu_solve", "linalg_matrix_exp", "logspace", "mode", "ormqr", "poisson", "put_", "segment_reduce"),
        *("take",),
    )
)
"""Operators within reach of such a network that have no kernel for Apple's cards (torch 2.13)."""

MPS_INSTEAD = {
    "aten::_scaled_dot_product_flash_attention_for_cpu": "scaled_dot_product_attention picks a kernel by device"
}
"""Those of them that only stand for others: on an Apple card another one runs, for the reason given."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one device."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Placement:
    """How many of the language model's layers each device has, in order; all else stands on the last one."""

    shares: tuple[tuple[torch.device, int], ...]

    @property
    def layers(self) -> tuple[torch.device, ...]:
        """The device of each layer."""
        return tuple(device for device, count in self.shares for _ in range(count))

    @property
    def cuts(self) -> tuple[int, ...]:
        """The layers at which a next device's share begins."""
        return tuple(accumulate(count for _, count in self.shares))[:-1]

    @property
    def rest(self) -> torch.device:
        """Where embedding, head, encoders and speech stand."""
        return self.shares[-1][0]

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Each device once."""
        return tuple(dict.fromkeys(device for device, _ in self.shares))


def parse(names: Sequence[str]) -> tuple[torch.device, ...]:
    """Devices by name (`cuda:0`, `cuda:0,cuda:1`, `cpu`, `mps`, `auto`: the best single one).

    Raises `DeviceError` for a name that is none, and for a device that is not there.
    """
    given = [name.strip() for entry in names for name in entry.split(",") if name.strip()]
    if not given:
        raise DeviceError("devices: expected at least one of auto, cpu, mps, cuda:0, cuda:1 and so on, found none")
    found = tuple(_device(name) for name in given)
    if len({device.type for device in found}) > 1:
        raise DeviceError(f"devices: expected all of one kind, found {', '.join(given)}")
    if any(device.type != "cpu" and found.count(device) > 1 for device in found):
        raise DeviceError(f"devices: expected each card once, found {', '.join(given)}")
    return found


def _device(name: str) -> torch.device:
    if name == AUTO:
        return _best()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"devices: expected auto, cpu, mps, cuda:0, cuda:1 and so on, found {name!r}")
    if device.type == "cuda":
        return _card(name, device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"devices: {name} is not there: this machine or this build of torch has no Apple card")
    return torch.device(device.type)


def _card(name: str, index: int) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise DeviceError(f"devices: {name} is not there: this machine shows {count} cuda cards")
    return torch.device("cuda", index)


def _best() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def number_format(name: str, where: Sequence[torch.device]) -> torch.dtype:
    """The number format by name; `auto` is bfloat16 on cuda (float16 where missing), float16 on mps, float32 on cpu.

    Raises `DeviceError` for an unknown name, or a format the device lacks.
    """
    kind = where[0].type
    if name == AUTO:
        automatic = {"cuda": torch.bfloat16 if _has_bfloat16(where) else torch.float16, "mps": torch.float16}
        return automatic.get(kind, torch.float32)
    dtype = DTYPES.get(SHORT_DTYPES.get(name, name))
    if dtype is None:
        raise DeviceError(f"dtype: expected auto, {', '.join(DTYPES)}, found {name!r}")
    if dtype == torch.bfloat16 and kind == "cuda" and not _has_bfloat16(where):
        raise DeviceError("dtype: this card has no bfloat16: use float16")
    return dtype


def _has_bfloat16(where: Sequence[torch.device]) -> bool:
    """True for every card from compute capability 8.0 on."""
    return all(device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0) for device in where)


def memory(device: torch.device) -> Memory:
    """Free and total memory of a device."""
    if device.type == "cuda":
        return Memory(*torch.cuda.mem_get_info(device))
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return Memory(total - torch.mps.driver_allocated_memory(), total)
    return _main_memory()


def _main_memory() -> Memory:
    """Of the machine, or of the control group this process is locked into if that has less."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * page
    free = _available() or total
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        left = limit - int((group / "memory.current").read_text()) + _file_pages(group)
    except (OSError, ValueError):  # No such group, or the limit is "max".
        return Memory(free, total)
    return Memory(max(0, min(free, left)), min(total, limit))


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _file_pages(group: Path) -> int:
    """Bytes of files in memory that give way when memory is needed."""
    lines = (group / "memory.stat").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def release() -> None:
    """Give back what is kept for later allocations, before one that failed is tried again."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def place(where: Sequence[torch.device], room: Sequence[int], layers: int, layer_bytes: int, rest: int) -> Placement:
    """Split `layers` language layers of `layer_bytes` each over the devices, in order, in proportion to their room.

    `rest` bytes stand on the last device. Raises `DeviceError` for more devices than layers.
    """
    if len(where) > layers:
        raise DeviceError(f"devices: expected at most {layers}, one for each language layer, found {len(where)}")
    total = layers * layer_bytes + rest
    counts: list[int] = []
    for index, filled in enumerate(list(accumulate(room))[:-1]):
        done, waiting = sum(counts), len(where) - index - 1
        upto = round(total * filled / sum(room) / layer_bytes)
        counts.append(max(1, min(upto, layers - waiting) - done))
    return Placement(tuple(zip(where, (*counts, layers - sum(counts)), strict=True)))
