"""Who has the floor, with a real browser's microphone: a pause inside a turn, a stop, and sounds that are none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
import soxr
from playwright.async_api import Browser, expect

from tests.bench.floor.sounds import cough
from tests.caller import MIC_RATE, Pcm
from tests.e2e.chromium import open_page
from tests.e2e.devices import Devices
from tests.e2e.sounds import spoken
from tests.realtime.voices import RATE
from tests.service import Service, running_service

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

CONNECTED_S = 3.0
"""From the click, when the microphone begins to hear, until a busy machine has connected the call."""

STORY = "^(Once upon a time, at the edge|A long time ago there was a town)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    async with running_service("--no-greeting") as service:
        yield service


def said(text: str) -> Pcm:
    return spoken(text, before_s=0.0, after_s=0.0)


def coughed() -> Pcm:
    """As loud as somebody who speaks."""
    sound = np.asarray(cough(np.random.default_rng(3)), dtype=np.float64)
    loud = 12_000 * sound / np.abs(sound).max()
    return np.asarray(soxr.resample(loud, RATE, MIC_RATE), dtype=np.int16)


def softly(sound: Pcm) -> Pcm:
    """As one listens: 6 dB below what one says oneself."""
    return sound // 2


def seconds(*parts: Pcm | float) -> float:
    return sum(part if isinstance(part, float) else len(part) / MIC_RATE for part in parts)


async def test_a_turn_with_a_pause_in_it_is_answered_once(service: Service, browser: Browser, devices: Devices) -> None:
    turn: list[Pcm | float] = [said("please tell me"), 0.5, said("a story")]
    devices.listen_to(CONNECTED_S, *turn)
    async with open_page(browser, service.url) as call:
        await call.call()
        await call.until("window.__call.responses.some((response) => response.heardMs > 1000)")
        (item_id,) = {event["item_id"] for event in await call.told("input_audio_buffer.committed")}
        taken_back = {event["item_id"] for event in await call.told("conversation.item.deleted")}
        answers = {event["item"]["id"] for event in await call.told("response.output_item.added")}
        assert len(answers - taken_back) == 1
        began = (await call.told("input_audio_buffer.speech_started"))[0]
        ended = (await call.told("input_audio_buffer.speech_stopped"))[-1]
        assert began["item_id"] == ended["item_id"] == item_id
        assert ended["audio_end_ms"] - began["audio_start_ms"] > 1000 * seconds(*turn) - 300


async def test_stop_stops_and_what_is_no_word_does_not(service: Service, browser: Browser, devices: Devices) -> None:
    sounds: list[Pcm | float] = [said("what time is it"), 6.5, softly(said("mm hmm")), 1.8, softly(coughed()), 1.8]
    stop_at_s = CONNECTED_S + seconds(*sounds)
    devices.listen_to(CONNECTED_S, *sounds, said("stop"), 3.0, said("stop"))
    async with open_page(browser, service.url) as call:
        clicked = asyncio.get_running_loop().time()
        await call.call()
        await call.until("window.__call.responses.length > 0")  # By now the floor knows how loud this person is.
        await call.button("Stop").click()
        await call.becomes("listening")
        await call.type_in("tell me a story")
        await call.begins(STORY)
        await call.until("window.__call.responses.find((response) => response.number === 2)?.final")
        story = call.lines.filter(has_text=re.compile(STORY))
        await expect(story).to_contain_text("cut off", timeout=5_000)
        assert asyncio.get_running_loop().time() - clicked > stop_at_s, "it was stopped by what is no word"
        assert await call.told("output_audio_buffer.paused") != []
        await call.button("Mute").click()
        await call.type_in("what is your name")
        await call.reads("My name is Ada|I am called Ada")
        assert await call.complaints() == []
