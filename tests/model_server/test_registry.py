from __future__ import annotations

import pytest

from model_server import registry
from model_server.registry import BadOption, MissingExtra, UnknownEngine, create_engine


@pytest.mark.parametrize("name", ["echo", "native"])
def test_engines_by_name(name: str) -> None:
    engine = create_engine(name, {})
    assert engine.capabilities.engine == name
    assert engine.max_sessions > 0
    assert engine.context > 0


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownEngine, match="expected one of demo, echo, minicpmo, native, got 'gpt'"):
        create_engine("gpt", {})


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(BadOption, match="script: the engine echo takes no options"):
        create_engine("echo", {"script": "x"})
    with pytest.raises(BadOption, match="speed: the engine demo takes the options script"):
        create_engine("demo", {"speed": "2"})


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def needs(_: object) -> None:
        raise ModuleNotFoundError("No module named 'pocketsphinx'", name="pocketsphinx")

    monkeypatch.setitem(registry._ENGINES, "demo", (needs, frozenset(), "demo"))
    with pytest.raises(MissingExtra, match=r"pocketsphinx is not installed: pip install '\.\[demo\]'"):
        create_engine("demo", {})


def test_an_engine_that_cannot_use_its_option_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ValueError("script.yaml, line 3:\n  unknown key")

    monkeypatch.setitem(registry._ENGINES, "demo", (broken, frozenset(), "demo"))
    with pytest.raises(BadOption, match=r"engine demo: script\.yaml, line 3: unknown key"):
        create_engine("demo", {})


def test_the_network_needs_a_model_and_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadOption, match="engine minicpmo: model: expected a model folder or a hub id"):
        create_engine("minicpmo", {})
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "safetensors" else object())
    with pytest.raises(MissingExtra, match=r"safetensors is not installed: pip install '\.\[model\]'"):
        create_engine("minicpmo", {"model": "owner/name"})
