"""Engines by name, each imported only when it is asked for: none drags its libraries into another's server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from model_server.engine import Engine


class EngineSetupError(Exception):
    """An engine that cannot be made as asked; the text is one line that says what to change."""


class UnknownEngine(EngineSetupError):
    """No engine of this name."""


class MissingExtra(EngineSetupError):
    """The engine's libraries are not installed."""


class BadOption(EngineSetupError):
    """An option that the engine does not have, or a value that it cannot use."""


def _echo(options: Mapping[str, str]) -> Engine:
    from model_server.doubles.echo import EchoEngine

    return EchoEngine()


def _native(options: Mapping[str, str]) -> Engine:
    from model_server.doubles.native import NativeEngine

    return NativeEngine()


def _demo(options: Mapping[str, str]) -> Engine:
    from model_server.demo.engine import DemoEngine

    script = options.get("script")
    return DemoEngine(Path(script) if script else None)


_NETWORK_LIBRARIES = (
    *("torch", "transformers", "tokenizers", "safetensors", "librosa"),
    *("soundfile", "num2words", "huggingface_hub", "PIL"),
)


def _minicpmo(options: Mapping[str, str]) -> Engine:
    for library in _NETWORK_LIBRARIES:
        if find_spec(library) is None:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
    if not options.get("model"):
        raise ValueError("model: expected a model folder or a hub id such as openbmb/MiniCPM-o-2_6, got none: --model")
    from model_server.minicpmo.serving.engine import MiniCPMOEngine, ModelChoice

    return MiniCPMOEngine(ModelChoice.of(options))


_ENGINES: dict[str, tuple[Callable[[Mapping[str, str]], Engine], frozenset[str], str]] = {
    "demo": (_demo, frozenset({"script"}), "demo"),
    "echo": (_echo, frozenset(), ""),
    "minicpmo": (_minicpmo, frozenset({"model", "devices", "dtype", "quantize"}), "model"),
    "native": (_native, frozenset(), ""),
}
"""Name: how it is made, the options it takes, the extra it needs."""

ENGINE_NAMES = tuple(_ENGINES)


def create_engine(name: str, options: Mapping[str, str]) -> Engine:
    """The engine called `name`, not started yet. Raises an `EngineSetupError`."""
    if name not in _ENGINES:
        raise UnknownEngine(f"engine: expected one of {', '.join(ENGINE_NAMES)}, got {name!r}")
    make, known, extra = _ENGINES[name]
    for option in options:
        if option not in known:
            takes = f"the options {', '.join(sorted(known))}" if known else "no options"
            raise BadOption(f"{option}: the engine {name} takes {takes}: leave it out")
    try:
        return make(options)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("model_server."):
            raise
        raise MissingExtra(f"engine {name}: {error.name} is not installed: pip install '.[{extra}]'") from error
    except (OSError, ValueError) as error:
        raise BadOption(f"engine {name}: {' '.join(str(error).split())}") from error
