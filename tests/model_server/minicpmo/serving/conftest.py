"""The engine over the tiny checkpoint, started."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from model_server.minicpmo.serving.engine import MiniCPMOEngine
from tests.model_server.minicpmo.serving.samples import tiny_engine


@pytest.fixture
async def engine() -> AsyncIterator[MiniCPMOEngine]:
    engine = tiny_engine()
    await engine.start()
    yield engine
    await engine.aclose()
