"""One call with the real network, as small as it can be: random weights, so what it says means nothing."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from playwright.async_api import Browser, expect

from tests.e2e.chromium import CallPage, open_page
from tests.e2e.devices import Devices
from tests.e2e.sounds import loud_seconds
from tests.model_server.minicpmo.conftest import VECTORS
from tests.service import running_service

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PERSONAS = '[desk]\nname = "Museum desk"\ninstructions = "You sit at the desk of a museum."\n'


def clip(folder: Path) -> Path:
    file = folder / "aunt.wav"
    soundfile.write(file, 0.3 * np.sin(np.arange(48_000) * (2 * np.pi * 220 / 24_000)), 24_000)
    return file


async def be_somebody_else(call: CallPage, file: Path) -> None:
    """Choose the persona, and bring the clip of a voice."""
    await call.button("Devices and settings").click()
    await call.page.get_by_label("Who the assistant is").select_option("Museum desk")
    await call.page.locator("#voice-file").set_input_files(file)
    await expect(call.page.locator("#clip-word")).to_have_text(
        f"From its next answer on the assistant speaks as in {file.name}."
    )
    await call.page.keyboard.press("Escape")
    await expect(call.page.locator("#manner")).to_have_text("Museum desk · Voice: your clip")


async def test_a_call_with_the_network(
    browser: Browser, devices: Devices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder, personas = str(VECTORS / "checkpoint"), tmp_path / "personas.toml"
    personas.write_text(PERSONAS)
    flags = ("--engine", "minicpmo", "--model", folder, "--devices", "cpu", "--personas", str(personas))
    async with (
        running_service(*flags, ready=False) as service,
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
            await be_somebody_else(call, clip(tmp_path))
            await call.type_in("What do you see?")
            await call.until("window.__call.responses.length > 1 && window.__call.responses.at(-1).heardMs > 500")
            assert await call.lines.last.inner_text() != ""
            assert loud_seconds(await call.recorded()) > 0.5
            await call.button("Stop").click()
            await call.becomes("listening")
            await call.hang_up()
            await service.until_free()
            assert await call.complaints() == []
