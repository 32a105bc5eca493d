"""The tiny golden checkpoint, read once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.loading.checkpoint import Tensors, load, read_config
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network import packed
from model_server.minicpmo.network.attention import Shared

VECTORS = Path(__file__).parents[2] / "vectors" / "minicpm-o-2.6-tiny"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small networks are quickest so, and leave the other core to others."""
    torch.set_num_threads(1)


@contextmanager
def unpacked() -> Iterator[None]:
    """Networks that are loaded meanwhile keep their matrices as they were published, also on a processor."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(packed, "worthwhile", lambda device, dtype: False)
        yield


@pytest.fixture(scope="session")
def tiny_folder() -> Path:
    return VECTORS / "checkpoint"


@pytest.fixture(scope="session")
def tiny_config(tiny_folder: Path) -> ModelConfig:
    return read_config(tiny_folder)


@pytest.fixture(scope="session")
def tensors(tiny_folder: Path) -> Tensors:
    return Tensors(tiny_folder)


@pytest.fixture(scope="session")
def model(tiny_folder: Path) -> MiniCPMO:
    return load(str(tiny_folder), devices=("cpu",), dtype="float32")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Shared]:
    """The attention calls that rows of several sequences share, from now on."""
    made, seen = list[Shared](), Shared.seen

    def noted(shared: Shared, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        made.append(shared)
        return seen(shared, q, k, v, layer)

    monkeypatch.setattr(Shared, "seen", noted)
    return made
