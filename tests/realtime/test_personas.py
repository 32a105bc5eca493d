"""Personas: what is one, and where callers find them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from model_server.protocol import Capabilities
from realtime.service.configuration import ConfigurationError, load
from realtime.service.metrics import Metrics
from realtime.service.personas import Persona, read_personas
from realtime.service.settings import Settings
from realtime.service.upstream import Readiness
from realtime.web.app import Gateway, create_app
from realtime.web.calls import CallLimits, Calls
from tests.realtime.call_doubles import Clock, FactoryDouble

TWO = """
[desk]
name = "Museum desk"
instructions = "You sit at the desk of a museum."

[brief]
instructions = "Answer in one sentence."
"""
DESK = Persona("desk", "Museum desk", "You sit at the desk of a museum.")
BRIEF = Persona("brief", "brief", "Answer in one sentence.")


def file_of(folder: Path, text: str) -> Path:
    file = folder / "personas.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_has_a_table_for_each_and_its_order_stays(tmp_path: Path) -> None:
    assert read_personas(file_of(tmp_path, TWO)) == (DESK, BRIEF)
    assert read_personas(None) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected 1 to 32 tables, got 0"),
        ("[a\n", "personas.toml: Expected"),
        ("a = 3", r"\[a\]: expected a table with instructions, got a int"),
        ("[a]\nname = 'A'", r"\[a\]: .*missing required field `instructions`"),
        ("[a]\ninstructions = 'x'\nvoice = 'warm'", r"\[a\]: .*unknown field `voice`"),
        ("[a]\ninstructions = ' '", r"\[a\]: instructions has 1 to 8000 characters, got 1"),
        (f"[a]\ninstructions = '{'x' * 8001}'", r"\[a\]: instructions has 1 to 8000 characters, got 8001"),
        ("".join(f"[p{number}]\ninstructions = 'x'\n" for number in range(33)), "expected 1 to 32 tables, got 33"),
    ],
)
def test_a_wrong_file_is_told_when_the_service_starts(tmp_path: Path, text: str, says: str) -> None:
    file = file_of(tmp_path, text)
    with pytest.raises(ValueError, match=says):
        read_personas(file)
    with pytest.raises(ConfigurationError, match="personas"):
        load(["--personas", str(file)], {})


@pytest.mark.parametrize(("scripted", "listed"), [(False, [DESK, BRIEF]), (True, [])])
async def test_callers_find_them_unless_the_engine_follows_a_script(
    tmp_path: Path, scripted: bool, listed: list[Persona]
) -> None:
    metrics = Metrics()
    readiness = Readiness(metrics)
    calls = Calls(FactoryDouble(), metrics, CallLimits(1, 60.0, 1), clock=Clock())
    settings = Settings(personas=file_of(tmp_path, TWO))
    app = create_app(Gateway(calls, readiness, settings, metrics), ("localhost",))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        assert (await http.get("/v1/personas")).json() == {"personas": []}, "the engine is not there yet"
        readiness.set_ready(Capabilities(engine="e", model="m", scripted=scripted))
        told = [{"id": one.id, "name": one.name, "instructions": one.instructions} for one in listed]
        assert (await http.get("/v1/personas")).json() == {"personas": told}
        assert (await http.get("/v1/config")).json()["personas"] == told
    await calls.aclose()
