"""A browser that cancels no echo: the assistant hears itself, and goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.e2e.chromium import open_page
from tests.e2e.sounds import loud_seconds
from tests.service import Service, running_service

MOST_HOLDS = 4
"""The first echo of a call is held for, because it may be somebody; so may be one after the machine stood still."""

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

ECHO = Path(__file__).with_name("page") / "echo.js"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    async with running_service("--no-greeting") as service:
        yield service


async def test_the_assistant_is_not_stopped_by_its_own_voice(service: Service, browser: Browser) -> None:
    async with open_page(browser, service.url, script=ECHO.read_text()) as call:
        await call.call()
        await call.record("new MediaStream(window.__room.getAudioTracks())")
        await call.type_in("tell me a story")
        heard = "window.__call.responses.some((response) => response.heardMs > 8000)"
        await call.until(f"{heard} || window.__call.responses.length > 1")
        assert loud_seconds(await call.recorded()) > 0.1, "the room gave nothing back"
        assert await call.told("output_audio_buffer.cleared", "conversation.item.truncated") == []
        assert len(await call.told("response.created")) == 1
        assert len(await call.told("output_audio_buffer.paused")) <= MOST_HOLDS
