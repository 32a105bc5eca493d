"""Which room may import which: read from the sources, and tried in a fresh interpreter."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("realtime", "model_server", "certs")
HEAVY = {"torch", "torchaudio", "transformers", "librosa", "vector_quantize_pytorch"}
HEAVY_ROOMS = ("model_server/minicpmo/",)
"""Where the libraries of the network may be imported; nothing outside imports these when it is imported itself."""


def sources(room: str) -> Iterator[Path]:
    return (path for path in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every name that the file imports, anywhere in it; `from a import b` counts as `a.b`."""
    package = path.relative_to(ROOT).with_suffix("").parts
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: -node.level]) if node.level else ""
            base = ".".join(part for part in (above, node.module or "") if part)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def rooms_of(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names} & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_the_room_has_sources(room: str) -> None:
    assert list(sources(room))


def test_the_gateway_knows_only_the_protocol_of_the_model_server() -> None:
    allowed = "model_server.protocol"
    for path in sources("realtime"):
        for name in imports(path):
            if name == "model_server" or name.startswith("model_server."):
                assert name == allowed or name.startswith(f"{allowed}."), f"{path} imports {name}"


def test_the_model_server_does_not_know_the_gateway() -> None:
    for path in sources("model_server"):
        assert rooms_of(imports(path)) <= {"model_server"}, f"{path} imports another room"


def test_certificates_know_nobody() -> None:
    for path in sources("certs"):
        assert rooms_of(imports(path)) <= {"certs"}, f"{path} imports another room"


def test_heavy_libraries_stay_in_the_network_s_room() -> None:
    for room in ROOMS:
        for path in sources(room):
            if str(path.relative_to(ROOT)).startswith(HEAVY_ROOMS):
                continue
            heavy = {name.split(".")[0] for name in imports(path)} & HEAVY
            assert not heavy, f"{path} imports {heavy}"


IMPORT_ALL = """
import importlib, json, pkgutil, sys

def load(package):
    # The network's package is not entered: only it may load what is heavy.
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name != "model_server.minicpmo" and not module.name.endswith("__main__"):
            loaded = importlib.import_module(module.name)
            if module.ispkg:
                load(loaded)

for name in sys.argv[1:]:
    load(importlib.import_module(name))
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("room", ROOMS)
def test_importing_the_room_loads_no_heavy_library(room: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, room], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert not set(json.loads(run.stdout)) & HEAVY
