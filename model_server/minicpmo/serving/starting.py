"""From the name of a model to a network that has run once; what it is busy with is said in words all the while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model_server.minicpmo.loading import hub
from model_server.minicpmo.loading.assembly import Progress
from model_server.minicpmo.loading.budget import gigabytes
from model_server.minicpmo.loading.checkpoint import load
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.serving.voices import Voices
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT, system_content

WARM_UP_TOKENS = 12

Busy = Callable[[str], None]
"""Is told what the start is busy with."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model, where and how: what an operator may say."""

    source: str
    devices: tuple[str, ...] = ("auto",)
    dtype: str = "auto"
    quantize: str = "none"

    @classmethod
    def of(cls, options: Mapping[str, str]) -> ModelChoice:
        """From the options `model`, `devices`, `dtype` and `quantize`."""
        return cls(
            options["model"],
            tuple(options.get("devices", "auto").split(",")),
            options.get("dtype", "auto"),
            options.get("quantize", "none"),
        )

    @property
    def name(self) -> str:
        """How people call the model: a hub id as it is, of a folder its last part."""
        path = Path(self.source).expanduser()
        return path.resolve().name if path.is_dir() else self.source


@dataclass(frozen=True, slots=True)
class Started:
    """What is there after the start."""

    model: MiniCPMO
    voices: Voices


Load = Callable[[ModelChoice, Busy], Started]


def start(choice: ModelChoice, busy: Busy) -> Started:
    """Download, load, warm up. Raises `ModelError`, and whatever `busy` raises to give up."""
    busy(f"looking for {choice.source}")
    folder = hub.local_folder(choice.source, lambda done, total: busy(_downloading(choice, done, total)))
    model = load(
        folder,
        devices=choice.devices,
        dtype=choice.dtype,
        quantize=choice.quantize,
        progress=lambda progress: busy(_loading(progress)),
    )
    busy("warming up")
    warm_up(model)
    return Started(model, Voices.of_folder(folder))


def warm_up(model: MiniCPMO) -> None:
    """One short call: everything that is chosen, compiled or allocated at first use is there afterwards."""
    session = Session(model, seed=0)
    session.prefill("system", system_content("omni", "en"))
    session.prefill("user", [UNIT, Image.new("RGB", (448, 448)), np.zeros(16_000, np.float32)])
    with torch.inference_mode():
        for _ in session.generate(TextSampling(min_new_tokens=WARM_UP_TOKENS, max_new_tokens=WARM_UP_TOKENS)):
            pass


def _downloading(choice: ModelChoice, done: int, total: int) -> str:
    return f"downloading {choice.source}, {gigabytes(done)} of {gigabytes(total)}"


def _loading(progress: Progress) -> str:
    return f"loading {progress.part}, {progress.done} of {progress.total} tensors"
