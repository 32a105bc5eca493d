"""How the engine starts, what it says meanwhile, and how many calls it takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
import structlog

from model_server.app import AppSettings, create_app
from model_server.engine import EngineFailed, EngineUnusable
from model_server.minicpmo.serving.engine import MiniCPMOEngine
from model_server.minicpmo.serving.starting import ModelChoice
from model_server.protocol import GenerateOptions
from tests.model_server.minicpmo.serving.engine_talk import reply
from tests.model_server.minicpmo.serving.samples import CHOICE, CONFIG, tiny_engine


async def test_the_start_says_what_it_is_busy_with_and_then_how_many_fit() -> None:
    engine = MiniCPMOEngine(CHOICE, max_sessions=64, keeps_up=lambda model: 5)
    said: list[str] = []
    note = engine._note
    engine._note = lambda busy: (said.append(busy), note(busy))[1]  # type: ignore[method-assign, func-returns-value]
    assert (engine.max_sessions, engine.waits_for) == (64, "")
    await engine.start()
    assert said[0].startswith("looking for ")
    assert any(line.startswith("loading language, ") for line in said)
    assert said[-2:] == ["warming up", "measuring"]
    assert engine.waits_for == ""
    assert engine.max_sessions == 5
    await engine.aclose()


@pytest.mark.parametrize(
    ("in_memory", "in_time", "places", "limit"), [(3, 9, 3, "memory"), (9, 3, 3, "time"), (4, 0, 1, "time")]
)
async def test_memory_or_time_decides_how_many_calls_are_taken(
    monkeypatch: pytest.MonkeyPatch, in_memory: int, in_time: int, places: int, limit: str
) -> None:
    monkeypatch.setattr("model_server.minicpmo.serving.engine.slots", lambda model: in_memory)
    engine = tiny_engine(in_time)
    with structlog.testing.capture_logs() as logs:
        await engine.start()
    assert engine.max_sessions == places
    said = [line for line in logs if line["event"] == "engine_places"]
    assert [(line["places"], line["limit"]) for line in said] == [(places, limit)]
    await engine.aclose()


async def test_readyz_hands_on_what_the_start_is_busy_with() -> None:
    engine = tiny_engine()
    app = create_app(engine, AppSettings(token=""))
    engine._busy = "loading vision, 3 of 9 tensors"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["waits_for"] == ["the engine minicpmo to start: loading vision, 3 of 9 tensors"]
    await engine.aclose()


async def test_metrics_tell_how_many_rows_share_a_pass(engine: MiniCPMOEngine) -> None:
    app = create_app(engine, AppSettings(token=""))
    await reply(await engine.open_session("a", CONFIG), GenerateOptions(say="hello"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        lines = dict(line.rsplit(" ", 1) for line in (await http.get("/metrics")).text.splitlines() if line[0] != "#")
    for count in ("passes", "steps"):
        shown = float(lines[f'model_server_{count}_total{{kind="LanguageStep"}}'])
        assert shown == engine.statistics()[f"LanguageStep.{count}"] > 0
    assert 0 < float(lines["model_server_busy_seconds_total"]) <= engine.statistics()["busy_seconds"]


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (ModelChoice("no-such-folder"), "expected a model folder or a hub id"),
        (ModelChoice(CHOICE.source, devices=("tpu",)), "devices: expected"),
        (ModelChoice(CHOICE.source, devices=("cpu",), dtype="float8"), "dtype: expected"),
        (ModelChoice(CHOICE.source, devices=("cpu",), quantize="int2"), "int2"),
    ],
)
async def test_what_can_never_start_says_why(choice: ModelChoice, says: str) -> None:
    engine = MiniCPMOEngine(choice)
    with pytest.raises(EngineUnusable, match=says):
        await engine.start()
    await engine.aclose()


async def test_an_engine_can_be_closed_while_it_starts() -> None:
    engine = MiniCPMOEngine(CHOICE)
    starting = asyncio.create_task(engine.start())
    await asyncio.sleep(0)
    await engine.aclose()
    with pytest.raises(EngineFailed, match="the engine is closed"):
        await starting


def test_a_folder_is_called_by_its_name(tmp_path: Path) -> None:
    assert ModelChoice(str(tmp_path)).name == tmp_path.name
    assert ModelChoice("openbmb/MiniCPM-o-2_6").name == "openbmb/MiniCPM-o-2_6"
