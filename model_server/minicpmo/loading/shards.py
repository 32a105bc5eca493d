"""The weight files of a model folder: every header checked against the layout before any tensor is read."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.errors import CheckpointError
from model_server.minicpmo.loading.findings import Findings
from model_server.minicpmo.loading.layout import Shape, is_ignored, needed_tensors

INDEX = "model.safetensors.index.json"
VOCODER = Path("assets") / "Vocos.pt"
FORMATS = ("BF16", "F16", "F32")

GPTQ_ENDINGS = (".qweight", ".qzeros", ".g_idx")


class Tensors:
    """The official tensors of a folder by name, read when they are asked for; the vocoder's begin with `vocos.`."""

    def __init__(self, folder: Path, config: ModelConfig | None = None) -> None:
        """Raises `CheckpointError` with a table of all that is missing, unexpected, mis-shaped or damaged.

        Without `config` only damage is looked for.
        """
        findings = Findings()
        self._files: dict[str, Any] = {}
        self._shapes: dict[str, tuple[Shape, str]] = {}
        for file in _shard_files(folder, findings):
            self._open(file, findings)
        self._vocoder = _vocoder(folder / VOCODER, findings)
        if config is not None and not findings.rows:
            self._refuse_packed(folder)
            _compare(needed_tensors(config), self._headers(), findings)
        findings.check(f"{folder}: the weights do not fit the configuration:")

    def __getitem__(self, name: str) -> Tensor:
        """A tensor in the format it is stored in, in memory mapped from its file. Raises `CheckpointError`."""
        if name in self._vocoder:
            return self._vocoder[name]
        if name not in self._files:
            raise CheckpointError(f"tensor {name}: missing")
        return self._files[name].get_tensor(name)  # type: ignore[no-any-return]

    def read(self, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        """A tensor on a device, in memory of its own."""
        return self[name].to(device, dtype, copy=True)

    def _open(self, file: Path, findings: Findings) -> None:
        try:
            opened: Any = safe_open(file, framework="pt")
        except (OSError, SafetensorError) as error:
            findings.add(file.name, str(error), "a whole safetensors file")
            return
        for name in opened.keys():  # noqa: SIM118  (The file is no mapping.)
            if name in self._files:
                findings.add(name, f"again in {file.name}", "once")
            part = opened.get_slice(name)
            self._files[name] = opened
            self._shapes[name] = tuple(part.get_shape()), part.get_dtype()

    def _headers(self) -> dict[str, tuple[Shape, str]]:
        vocoder = {name: (tuple(tensor.shape), _format(tensor)) for name, tensor in self._vocoder.items()}
        return self._shapes | vocoder

    def _refuse_packed(self, folder: Path) -> None:
        packed = next((name for name in self._files if name.endswith(GPTQ_ENDINGS)), None)
        if packed is not None:
            raise CheckpointError(
                f"{folder}: a GPTQ int4 checkpoint ({packed}); expected the bfloat16 checkpoint, which "
                "quantize='int8' or 'int4' quantises while it loads"
            )


def _shard_files(folder: Path, findings: Findings) -> Iterator[Path]:
    """The files the index names, or all there are if there is no index."""
    index = folder / INDEX
    if not index.exists():
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            findings.add("*.safetensors", "no such file", "the weights")
        yield from files
        return
    for name in _indexed(index, findings):
        if (folder / name).name != name or not (folder / name).is_file():
            findings.add(name, "no such file", f"a file, named by {INDEX}")
        else:
            yield folder / name


def _indexed(index: Path, findings: Findings) -> list[str]:
    try:
        return sorted({str(name) for name in json.loads(index.read_text())["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        findings.add(index.name, f"{type(error).__name__}: {error}", "a JSON object with a weight_map")
        return []


def _vocoder(file: Path, findings: Findings) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        return {f"vocos.{name}": tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
    except (OSError, RuntimeError, AttributeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        findings.add(str(VOCODER), (str(error) or "an empty file").splitlines()[0], "a file of the vocoder's tensors")
        return {}


def _format(tensor: Tensor) -> str:
    names = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}
    return names.get(tensor.dtype, str(tensor.dtype))


def _compare(needed: Mapping[str, Shape], found: Mapping[str, tuple[Shape, str]], findings: Findings) -> None:
    for name, shape in needed.items():
        if name not in found:
            findings.add(name, "missing", list(shape))
            continue
        if found[name][0] != shape:
            findings.add(name, list(found[name][0]), list(shape))
        if found[name][1] not in FORMATS:
            findings.add(name, found[name][1], f"one of {', '.join(FORMATS)}")
    for name in found:
        if name not in needed and not is_ignored(name):
            findings.add(name, list(found[name][0]), "no such tensor")
