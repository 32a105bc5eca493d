"""What all sessions of one server share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from model_server.engine import Engine
from model_server.metrics import Metrics
from model_server.protocol import Limits


def _version() -> str:
    try:
        return version("minicpm-o-call")
    except PackageNotFoundError:
        return "0"


@dataclass(frozen=True, slots=True)
class House:
    """The engine and the rules. `clock` gives seconds and never goes back."""

    engine: Engine
    limits: Limits
    clock: Callable[[], float]
    metrics: Metrics = field(default_factory=Metrics)
    version: str = field(default_factory=_version)

    @property
    def turn_based(self) -> bool:
        """Whether the engine takes nothing while it replies."""
        return self.engine.capabilities.turn_taking == "turn_based"
