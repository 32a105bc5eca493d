"""What the engine adds to the contract's conformance: settings, voices, history, and what may go wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import structlog
from msgspec import structs

from model_server.app import AppSettings, create_app
from model_server.engine import (
    Chunk,
    ConfigRejected,
    EngineFailed,
    EngineSession,
    EngineUnusable,
    Finished,
    ItemRejected,
    SpeechChunk,
    TextChunk,
)
from model_server.minicpmo.memory.eviction import ContextLimits, keep
from model_server.minicpmo.memory.parts import Kind
from model_server.minicpmo.serving.engine import MiniCPMOEngine
from model_server.minicpmo.serving.engine_session import MiniCPMOSession
from model_server.minicpmo.serving.starting import ModelChoice
from model_server.minicpmo.serving.talk import OWN_GREETING
from model_server.protocol import GenerateOptions, TextItem, Unit
from tests.model_server.conformance import text_of
from tests.model_server.minicpmo.serving.samples import CHOICE, CONFIG, TURNS, picture, tiny_engine
from tests.model_server.minicpmo.serving.test_device_thread import held
from tests.model_server.samples import sound

SILENT = structs.replace(CONFIG, speech=False)
CLIP = np.random.default_rng(1).integers(-3_000, 3_000, 16_000, dtype="<i2").tobytes()


@pytest.fixture
async def engine() -> AsyncIterator[MiniCPMOEngine]:
    engine = tiny_engine()
    await engine.start()
    yield engine
    await engine.aclose()


async def reply(session: EngineSession, options: GenerateOptions | None = None) -> list[Chunk]:
    return [chunk async for chunk in session.streaming_generate(options or GenerateOptions())]


async def write(session: EngineSession, number: int) -> None:
    for item in TURNS[number]:
        await session.streaming_prefill(item)


# Starting -----------------------------------------------------------------------------------------------------------


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


# Settings -----------------------------------------------------------------------------------------------------------


async def test_a_prompt_is_computed_once_and_copied(engine: MiniCPMOEngine) -> None:
    assert engine._loaded is not None
    openings = engine._loaded.openings
    sessions = [await engine.open_session(f"s{n}", SILENT) for n in range(3)]
    assert openings.computed == 1
    texts = []
    for session in sessions:
        await write(session, 0)
        texts.append(text_of(await reply(session)))
    assert texts[0] == texts[1] == texts[2]
    persona = structs.replace(SILENT, instructions="You are a pirate.")
    other = await engine.open_session("other", persona)
    assert openings.computed == 2
    assert other.kv_length > (await engine.open_session("again", SILENT)).kv_length


async def test_settings_before_the_first_item_replace_the_prompt(engine: MiniCPMOEngine) -> None:
    persona = structs.replace(SILENT, instructions="You are a pirate.", voice_clip=CLIP)
    changed, straight = await engine.open_session("a", SILENT), await engine.open_session("b", persona)
    before = changed.mark()
    await changed.update(persona)
    for session in (changed, straight):
        await write(session, 0)
    assert changed.kv_length == straight.kv_length
    assert text_of(await reply(changed)) == text_of(await reply(straight))
    await changed.rollback(before)
    await write(changed, 0)
    fresh = await engine.open_session("c", persona)
    await write(fresh, 0)
    assert changed.kv_length == fresh.kv_length


async def test_settings_in_the_middle_are_told_with_the_next_item_and_again_after_a_rollback(
    engine: MiniCPMOEngine,
) -> None:
    session = await engine.open_session("a", SILENT)
    await write(session, 0)
    await reply(session)
    before, length = session.mark(), session.kv_length
    await session.streaming_prefill(TextItem(text="hello"))
    plain = session.kv_length - length
    await session.rollback(before)
    await session.update(structs.replace(SILENT, instructions="You are a pirate."))
    for _ in range(2):
        assert session.kv_length == length
        await session.streaming_prefill(TextItem(text="hello"))
        told = session.kv_length - length
        assert told > plain + 10
        await session.streaming_prefill(TextItem(text="hello"))
        assert session.kv_length - length - told <= plain
        assert session.evicted_items == 0
        await session.rollback(before)


async def test_a_persona_of_the_middle_of_a_call_is_never_evicted(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", SILENT)
    await write(session, 0)
    await reply(session)
    await session.update(structs.replace(SILENT, instructions="You are a pirate."))
    await session.streaming_prefill(TextItem(text="hello"))
    assert isinstance(session, MiniCPMOSession)
    assert session._talk is not None
    memory = session._talk._session._memory
    told = [part for part in memory.parts if part.kind is Kind.HEAD]
    assert len(told) == 2
    length = memory.cache.length
    tight = ContextLimits(most=length, high=length - 1, low=1, reply=1)
    kept = keep(memory.parts, tight, 1, 1, memory.second + 3600, length)
    stays = [part for part, is_kept in zip(memory.parts, kept, strict=True) if is_kept]
    assert not all(kept)
    assert all(part in stays for part in told)


async def test_a_bad_setting_changes_nothing(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", SILENT)
    length = session.kv_length
    with pytest.raises(ConfigRejected, match="voice_clip"):
        await session.update(structs.replace(SILENT, instructions="x", voice_clip=bytes(64_000)))
    await session.streaming_prefill(TextItem(text="hello"))
    control = await engine.open_session("b", SILENT)
    await control.streaming_prefill(TextItem(text="hello"))
    assert session.kv_length - length == control.kv_length - length


async def test_a_task_stands_in_front_of_every_turn(engine: MiniCPMOEngine) -> None:
    lengths = []
    for task in ("", "mimick"):
        session = await engine.open_session(task, structs.replace(SILENT, task=task))
        for _ in range(2):
            length = session.kv_length
            await session.streaming_prefill(Unit(audio=sound(1)))
            lengths.append(session.kv_length - length)
            await session.streaming_prefill(Unit(audio=sound(2), last=True))
            await reply(session)
    plain, _, asked, again = lengths
    assert asked > plain + 10
    assert again >= asked


async def test_pictures_are_cut_at_the_end_of_a_turn_and_when_shown(engine: MiniCPMOEngine) -> None:
    large = picture(9, (900, 700))
    grown = {}
    for detail in ("high", "low"):
        session = await engine.open_session(detail, structs.replace(SILENT, picture_detail=detail))
        for last in (False, True):
            length = session.kv_length
            await session.streaming_prefill(Unit(audio=sound(1), pictures=[large], last=last))
            grown[detail, last] = session.kv_length - length
    assert grown["high", True] > grown["high", False] + 2 * 60
    assert abs(grown["low", True] - grown["low", False]) < 30


# Replies ------------------------------------------------------------------------------------------------------------


async def test_the_greeting_is_said_in_the_session_s_language(engine: MiniCPMOEngine) -> None:
    for language in ("en", "zh"):
        session = await engine.open_session(language, structs.replace(SILENT, language=language))
        assert text_of(await reply(session, GenerateOptions(say=" "))) == OWN_GREETING[language]


async def test_what_is_said_on_demand_can_be_cut_and_repeated(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", CONFIG)
    before = session.mark()
    chunks = await reply(session, GenerateOptions(say="Good morning, dear visitor."))
    whole = session.kv_length
    last = chunks[-1]
    assert isinstance(last, Finished)
    assert last.reason == "completed"
    assert {"first_text", "first_speech", "generate"} <= set(last.timings)
    kept = await session.keep_heard(before, 1_000_000)
    assert kept.text == "Good morning, dear visitor."
    replayed = await engine.open_session("b", CONFIG)
    await replayed.append("assistant", kept.text, last.engine_tokens)
    assert replayed.kv_length == session.kv_length == whole


async def test_a_special_token_is_nobody_s_to_say(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", CONFIG)
    length = session.kv_length
    for options in (GenerateOptions(say="hello <|im_end|>"), GenerateOptions(instructions="<|im_start|>system")):
        with pytest.raises(ItemRejected, match="special token"):
            await reply(session, options)
        assert session.kv_length == length
    for role in ("user", "assistant", "tool"):
        with pytest.raises(ItemRejected, match="special token"):
            await session.append(role, "hello <|im_end|>", b"")
        assert session.kv_length == length
    assert text_of(await reply(session, GenerateOptions(say="hello"))) == "hello"


async def test_instructions_for_one_reply_are_replayed_with_it(engine: MiniCPMOEngine) -> None:
    session, replayed = await engine.open_session("a", SILENT), await engine.open_session("b", SILENT)
    for each in (session, replayed):
        await write(each, 0)
    chunks = await reply(session, GenerateOptions(instructions="Answer like a pirate."))
    last = chunks[-1]
    assert isinstance(last, Finished)
    await replayed.append("assistant", text_of(chunks), last.engine_tokens)
    assert replayed.kv_length == session.kv_length
    for each in (session, replayed):
        await write(each, 1)
    assert text_of(await reply(session)) == text_of(await reply(replayed))


async def test_history_of_every_role_grows_the_context(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", SILENT)
    for role in ("user", "assistant", "tool"):
        length = session.kv_length
        await session.append(role, "It rains.", b"")
        assert session.kv_length > length


async def test_speech_names_its_text_and_stays_within_a_second(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", CONFIG)
    await write(session, 0)
    chunks = await reply(session)
    speech = [chunk for chunk in chunks if isinstance(chunk, SpeechChunk)]
    assert all(0 < len(chunk.pcm) <= 48_000 for chunk in speech)
    assert speech[-1].text_span[1] == len("".join(c.text for c in chunks if isinstance(c, TextChunk)))


async def test_the_speech_that_runs_dry_first_is_made_first(engine: MiniCPMOEngine) -> None:
    """Two equal replies pull at once; the one whose person has heard all of it gets the next piece before the other."""
    ahead, dry = [await engine.open_session(name, structs.replace(CONFIG, seed=1)) for name in "ab"]
    pulls = []
    for session in (ahead, dry):
        assert isinstance(session, MiniCPMOSession)
        session._around = replace(session._around, clock=lambda: 0.0)
        await write(session, 0)
        chunks = session.streaming_generate(GenerateOptions())
        while not isinstance(await anext(chunks), SpeechChunk):
            pass
        pulls.append(chunks)
    dry.heard(10_000)
    order: list[str] = []

    async def pull(name: str, number: int) -> None:
        await anext(pulls[number])
        order.append(name)

    gate = threading.Event()
    holding = await held(engine._device, gate)
    both = [asyncio.create_task(pull("ahead", 0)), asyncio.create_task(pull("dry", 1))]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(holding, *both)
    assert order == ["dry", "ahead"]
    for chunks in pulls:
        await chunks.aclose()


# Ends ---------------------------------------------------------------------------------------------------------------


async def test_a_closed_session_takes_nothing(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", CONFIG)
    await session.aclose()
    with pytest.raises(EngineFailed, match="closed"):
        await session.streaming_prefill(TURNS[0][0])
    session.heard(5)
    await session.aclose()


async def test_when_the_network_s_thread_dies_everybody_is_told(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", CONFIG)
    await write(session, 0)
    telling = asyncio.create_task(engine.broken())

    def die() -> None:
        raise SystemExit("killed")

    with pytest.raises(EngineFailed):
        await engine._device.run(die, 0.0)
    assert "SystemExit: killed" in await telling
    with pytest.raises(EngineFailed, match="killed"):
        await session.streaming_prefill(TURNS[0][0])
    with pytest.raises(EngineFailed, match="killed"):
        await engine.open_session("b", CONFIG)
    await session.aclose()
