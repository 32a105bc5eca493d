"""The engine `minicpmo` over random weights, or over a model's folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from model_server.minicpmo.loading.checkpoint import load_random
from model_server.minicpmo.serving.engine import MiniCPMOEngine
from model_server.minicpmo.serving.starting import Busy, Load, ModelChoice, Started, start, warm_up
from model_server.minicpmo.serving.voices import Voices


@dataclass(frozen=True, slots=True)
class Network:
    """Random weights of a `size`, or those of `model`."""

    size: str = "mid"
    model: str = ""
    devices: tuple[str, ...] = ("cpu",)
    dtype: str = "float32"

    @property
    def name(self) -> str:
        return f"{self.model or f'random {self.size}'}, {self.dtype}, {', '.join(self.devices)}"

    @asynccontextmanager
    async def started(self) -> AsyncIterator[MiniCPMOEngine]:
        """The engine, loaded and warm; closed behind."""
        load: Load = start if self.model else self._random
        engine = MiniCPMOEngine(ModelChoice(self.model or self.size, self.devices, self.dtype), load=load)
        await engine.start()
        try:
            yield engine
        finally:
            await engine.aclose()

    def _random(self, choice: ModelChoice, busy: Busy) -> Started:
        model = load_random(self.size, devices=choice.devices, dtype=choice.dtype)
        busy("warming up")
        warm_up(model)
        return Started(model, Voices())
