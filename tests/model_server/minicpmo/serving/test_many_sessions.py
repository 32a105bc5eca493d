"""Sessions come and go, and leave nothing behind."""

from __future__ import annotations

import gc
from collections import Counter

import torch
from msgspec import structs

from model_server.minicpmo.memory.marks import SessionMark
from model_server.minicpmo.network.cache_slots import MORE_SLOTS
from model_server.minicpmo.serving.engine import MiniCPMOEngine
from model_server.minicpmo.serving.talk import Talk
from model_server.minicpmo.session import Session
from model_server.protocol import GenerateOptions, TextItem
from tests.model_server.minicpmo.serving.samples import CONFIG, tiny, tiny_engine

KINDS = (torch.Tensor, Session, Talk, SessionMark)


def alive() -> Counter[str]:
    """What there is of each kind."""
    gc.collect()
    return Counter(kind.__name__ for found in gc.get_objects() for kind in KINDS if issubclass(type(found), kind))


async def call(engine: MiniCPMOEngine, number: int) -> None:
    """One that is told something, is marked, and in every tenth a reply is left in the middle."""
    session = await engine.open_session(f"s{number}", structs.replace(CONFIG, speech=number % 20 == 0))
    session.mark()
    await session.streaming_prefill(TextItem(text="hello"))
    if number % 10 == 0:
        chunks = session.streaming_generate(GenerateOptions(say="one and two"))
        await anext(chunks)
        await chunks.aclose()
    await session.aclose()


async def test_two_hundred_calls_leave_nothing_behind() -> None:
    engine = tiny_engine()
    await engine.start()
    for number in range(20):
        await call(engine, number)
    before = alive()
    for number in range(20, 220):
        await call(engine, number)
    assert alive() == before
    pool = tiny().model.language.pool
    assert pool is not None
    assert (pool.taken, pool.size) == (0, MORE_SLOTS), "slots were not given back, or each call took new ones"
    assert engine.spare
    await engine.aclose()
