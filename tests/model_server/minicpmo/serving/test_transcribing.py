from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cache

import numpy as np
import pytest
from msgspec import structs

from model_server.engine import Chunk, EngineSession, TranscriptChunk
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.serving.engine import MiniCPMOEngine
from model_server.minicpmo.serving.item_content import samples_of
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.tasks import TASKS
from model_server.protocol import GenerateOptions, TextItem, Unit
from tests.model_server.minicpmo.serving.samples import CONFIG, tiny, tiny_engine

ASKED = structs.replace(CONFIG, transcribe=True, speech=False)


def sound(number: int) -> bytes:
    """A second in which this network understands something."""
    return np.random.default_rng(number).integers(-900, 900, 16_000, dtype="<i2").tobytes()


SAID = b"".join(map(sound, range(3)))
TURN = (
    Unit(audio=sound(0)),
    Unit(audio=sound(1)),
    Unit(audio=bytes(32_000), voiced=False),
    Unit(audio=sound(2), last=True),
)


@pytest.fixture
async def engine() -> AsyncIterator[MiniCPMOEngine]:
    engine = tiny_engine()
    await engine.start()
    yield engine
    await engine.aclose()


async def reply(session: EngineSession, options: GenerateOptions | None = None) -> list[Chunk]:
    return [chunk async for chunk in session.streaming_generate(options or GenerateOptions())]


def transcripts(chunks: list[Chunk]) -> list[str]:
    return [chunk.text for chunk in chunks if isinstance(chunk, TranscriptChunk)]


@cache
def expected(clip: bytes) -> str:
    """The same question, asked by hand."""
    session = Session(tiny().model)
    session.prefill("user", [TASKS["transcribe-en"].prompt["en"] + "\n", samples_of(clip)])
    sampling = TextSampling(do_sample=False, max_new_tokens=160)
    return "".join(piece.text for piece in session.generate(sampling, speak=False)).strip()


async def test_what_the_person_said_comes_once_beside_the_reply(engine: MiniCPMOEngine) -> None:
    asked = await engine.open_session("a", ASKED)
    plain = await engine.open_session("b", structs.replace(ASKED, transcribe=False))
    for session in (asked, plain):
        for item in TURN:
            await session.streaming_prefill(item)
    chunks, others = await reply(asked), await reply(plain)
    assert expected(SAID)
    assert transcripts(chunks) == [expected(SAID)]
    assert transcripts(others) == []
    assert [type(c) for c in chunks if not isinstance(c, TranscriptChunk)] == [type(c) for c in others]
    assert asked.kv_length == plain.kv_length
    assert transcripts(await reply(asked)) == []


async def test_what_was_typed_or_is_only_to_be_said_is_not_transcribed(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", ASKED)
    await session.streaming_prefill(TextItem(text="hello"))
    assert transcripts(await reply(session)) == []
    await session.streaming_prefill(TURN[0])
    assert transcripts(await reply(session, GenerateOptions(say="One moment."))) == []


async def test_a_turn_that_is_open_again_is_transcribed_with_the_next_reply(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", ASKED)
    for item in TURN:
        await session.streaming_prefill(item)
    tasks = len(asyncio.all_tasks())
    before = session.mark()
    chunks = session.streaming_generate(GenerateOptions())
    await anext(chunks)
    await chunks.aclose()
    assert len(asyncio.all_tasks()) == tasks
    await session.keep_heard(before, 0)
    assert transcripts(await reply(session)) == [expected(SAID)]


async def test_a_turn_of_more_than_30_seconds_is_asked_in_parts(engine: MiniCPMOEngine) -> None:
    session = await engine.open_session("a", ASKED)
    seconds = [sound(number) for number in range(32)]
    for second in seconds:
        await session.streaming_prefill(Unit(audio=second))
    parts = [expected(b"".join(seconds[:30])), expected(b"".join(seconds[30:]))]
    assert all(parts)
    assert transcripts(await reply(session)) == [" ".join(parts)]
