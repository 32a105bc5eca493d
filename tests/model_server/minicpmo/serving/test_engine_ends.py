"""What is left when a session is closed, or when the network's thread dies."""

from __future__ import annotations

import asyncio

import pytest

from model_server.engine import EngineFailed
from model_server.minicpmo.serving.engine import MiniCPMOEngine
from tests.model_server.minicpmo.serving.engine_talk import write
from tests.model_server.minicpmo.serving.samples import CONFIG, TURNS


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
