from __future__ import annotations

import asyncio

from model_server.doubles.native import HELLO, NativeEngine
from model_server.engine import Chunk, EngineSession, Finished, NativeChunk, TextChunk
from model_server.protocol import GenerateOptions, SessionConfig, Unit
from tests.model_server.conformance import EngineCase, EngineConformance
from tests.model_server.samples import TURNS, unit
from tests.model_server.test_echo import REJECTED


async def first_chunk(session: EngineSession, *items: Unit) -> NativeChunk:
    """Write the items; the first chunk of what the engine then begins to say."""
    for item in items:
        await session.streaming_prefill(item)
    async with asyncio.timeout(30):
        return await anext(session.native_output())


async def said(session: EngineSession, *items: Unit) -> str:
    """Write the items; all that the engine then says."""
    for item in items:
        await session.streaming_prefill(item)
    text = ""
    async with asyncio.timeout(30):
        async for spoken in session.native_output():
            text += spoken.chunk.text if isinstance(spoken.chunk, TextChunk) else ""
            if isinstance(spoken.chunk, Finished):
                break
    return text


async def test_when_it_speaks() -> None:
    session = await NativeEngine().open_session("call", SessionConfig())
    assert await said(session, unit(1, voiced=False)) == HELLO
    assert "1.00 seconds" in await said(session, unit(2), unit(3, voiced=False))
    assert "2.00 seconds" in await said(session, unit(4), unit(5, last=True))
    await session.streaming_prefill(unit(6, voiced=False))
    await session.streaming_prefill(unit(7))
    asked = [steady_text(chunk) async for chunk in session.streaming_generate(GenerateOptions())]
    assert "1.00 seconds" in "".join(asked), "nothing was said by itself before"
    await session.aclose()


async def test_a_turn_nobody_was_heard_to_answer_is_answered_at_its_next_end() -> None:
    session = await NativeEngine().open_session("call", SessionConfig())
    await said(session, unit(1, voiced=False))
    begun = await first_chunk(session, unit(2), unit(3, voiced=False))
    assert begun.before is not None
    assert begun.items == 3
    await session.keep_heard(begun.before, 0)
    assert "1.00 seconds" in await said(session, unit(4, voiced=False))
    await session.aclose()


def steady_text(chunk: Chunk) -> str:
    return chunk.text if isinstance(chunk, TextChunk) else ""


class TestNative(EngineConformance):
    case = EngineCase(NativeEngine, TURNS, opening=(unit(0, voiced=False),), rejected=REJECTED)
