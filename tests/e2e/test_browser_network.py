"""One call with the real network, as small as it can be: random weights, so what it says means nothing."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import Browser

from tests.e2e.chromium import open_page
from tests.e2e.devices import Devices
from tests.e2e.sounds import loud_seconds
from tests.model_server.minicpmo.conftest import VECTORS
from tests.service import running_service

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def test_a_call_with_the_network(browser: Browser, devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = str(VECTORS / "checkpoint")
    async with (
        running_service("--engine", "minicpmo", "--model", folder, "--devices", "cpu", ready=False) as service,
        httpx.AsyncClient(base_url=service.url, trust_env=False) as http,
    ):
        waiting = (await http.get("/readyz")).json()
        assert waiting["status"] == "waiting"
        await service.wait_logged("ready")
        assert (await http.get("/v1/voices")).json() == {"voices": [], "takes_clips": True}
        async with open_page(browser, service.url) as call:
            await call.call()
            await call.record()
            await call.begins("^Hello!")
            assert await call.page.locator("#brand-name").inner_text() == "checkpoint"
            await call.type_in("What do you see?")
            await call.until("window.__call.responses.length > 1 && window.__call.responses.at(-1).heardMs > 500")
            assert await call.lines.last.inner_text() != ""
            assert loud_seconds(await call.recorded()) > 0.5
            await call.button("Stop").click()
            await call.becomes("listening")
            await call.hang_up()
            await service.until_free()
            assert await call.complaints() == []
