"""Sound through the whole of it: a real browser's microphone to the engine, and back behind its loopback connection."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from model_server.protocol import SPEECH_RATE
from tests.e2e.chromium import SPEAKER, open_page
from tests.e2e.devices import Devices
from tests.e2e.sounds import likeness, loud_seconds, of_pcm, patiently
from tests.realtime.voices import sentence
from tests.service import Service, running_service

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SENTENCE = "how many seconds did you hear"
SAID = sentence(SENTENCE) / 32768
ANOTHER = sentence("what did I ask you before") / 32768

RAW_MICROPHONE = """
  const capture = MediaDevices.prototype.getUserMedia;
  MediaDevices.prototype.getUserMedia = function (wanted) {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return capture.call(this, { ...wanted, audio });
  };
"""
"""What a browser makes of a voice (levels, noise, echo) is its own affair, and changes the waveform."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def echo() -> AsyncIterator[Service]:
    async with running_service("--engine", "echo", "--no-greeting") as service:
        yield service


async def test_the_server_hears_what_the_microphone_hears(echo: Service, browser: Browser, devices: Devices) -> None:
    devices.listen_to(1.5, *patiently(SENTENCE, 6.0))
    async with open_page(browser, echo.url, script=RAW_MICROPHONE) as call:
        await call.call()
        await call.record()
        await call.reads("I heard")
        returned = of_pcm(b"".join(message.pcm for message in await call.received()), SPEECH_RATE)
        assert likeness(returned, SAID) > 0.8
        assert likeness(returned, ANOTHER) < 0.5
        assert loud_seconds(await call.recorded()) > 1.0
        assert await call.complaints() == []


async def test_speech_as_a_track_sounds_and_has_captions(echo: Service, browser: Browser, devices: Devices) -> None:
    devices.listen_to(1.5, *patiently(SENTENCE, 6.0))
    async with open_page(browser, f"{echo.url}/?audio=track") as call:
        await call.call()
        assert await call.ask("window.__call.speech") == "track"
        await call.record(SPEAKER)
        await call.reads("I heard .* My memory is")
        assert loud_seconds(await call.recorded()) > 1.0
        assert await call.received() == []
        assert await call.complaints() == []
