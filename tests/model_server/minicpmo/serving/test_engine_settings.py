"""Settings of a session: persona, task, picture detail, and what a bad one changes."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from model_server.engine import ConfigRejected
from model_server.minicpmo.memory.eviction import ContextLimits, keep
from model_server.minicpmo.memory.parts import Kind
from model_server.minicpmo.serving.engine import MiniCPMOEngine
from model_server.minicpmo.serving.engine_session import MiniCPMOSession
from model_server.protocol import TextItem, Unit
from tests.model_server.conformance import text_of
from tests.model_server.minicpmo.serving.engine_talk import SILENT, reply, write
from tests.model_server.minicpmo.serving.samples import picture
from tests.model_server.samples import sound

CLIP = np.random.default_rng(1).integers(-3_000, 3_000, 16_000, dtype="<i2").tobytes()


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
