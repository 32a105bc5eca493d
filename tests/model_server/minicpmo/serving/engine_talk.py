"""A turn written to a session of the tiny checkpoint, and its whole reply."""

from __future__ import annotations

from msgspec import structs

from model_server.engine import Chunk, EngineSession
from model_server.protocol import GenerateOptions
from tests.model_server.minicpmo.serving.samples import CONFIG, TURNS

SILENT = structs.replace(CONFIG, speech=False)


async def reply(session: EngineSession, options: GenerateOptions | None = None) -> list[Chunk]:
    """All chunks of it."""
    return [chunk async for chunk in session.streaming_generate(options or GenerateOptions())]


async def write(session: EngineSession, number: int) -> None:
    """Write one of the sample turns."""
    for item in TURNS[number]:
        await session.streaming_prefill(item)
