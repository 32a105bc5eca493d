"""The main job: a person with a real browser calls the assistant as it comes, talks, types, interrupts and hangs up."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.chromium import CallPage, open_page
from tests.e2e.devices import Devices
from tests.e2e.ears import COLOUR_ANSWERS, understood, words
from tests.e2e.sounds import loud_seconds, patiently, utterances
from tests.service import Service, running_service

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

GREETING_S = 7.0
"""From the click until the assistant has greeted."""

STORY = "^(Once upon a time, at the edge|A long time ago there was a town)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    async with running_service() as service:
        yield service


async def test_the_assistant_sees_red_and_says_so(service: Service, browser: Browser, devices: Devices) -> None:
    devices.listen_to(GREETING_S, *patiently("what colour do you see", 8.0))
    async with open_page(browser, service.url) as call:
        await call.call()
        await call.reads("Hello, I am Ada")
        await call.record()
        said = await call.reads(r"\bred\b")
        answer = utterances(await call.recorded())[-1]
        assert understood(answer, COLOUR_ANSWERS) == [words(said)]
        assert words(await call.page.locator("#captions .line-you").last.inner_text()) == "what colour do you see"
        await call.hang_up()
        await call.shows("Ready when you are")
        assert await call.ask("document.getElementById('camera-view').srcObject") is None
        await service.until_free()
        assert await call.complaints() == []


async def test_talking_over_the_story_stops_it(service: Service, browser: Browser, devices: Devices) -> None:
    devices.listen_to(GREETING_S, *patiently("be quiet please", 9.0))
    async with open_page(browser, service.url) as call:
        await call.call()
        await call.record()
        await call.begins("Hello")
        await call.type_in("tell me a story")
        await call.begins(f"{STORY}.*cut off$")
        await expect(call.lines.last).not_to_contain_text("cut off")  # The answer to that.
        await call.button("Mute").click()  # Enough was said.
        await call.becomes("listening")
        heard_ms = await call.ask("window.__call.responses.reduce((sum, response) => sum + response.heardMs, 0)")
        assert 1.0 < loud_seconds(await call.recorded()) < heard_ms / 1000
        story = call.lines.filter(has_text=re.compile(STORY))
        told = re.findall(r"[\w']+", await story.inner_text())[:8]
        await call.type_in("what did you say before I interrupted you")
        await call.begins(r"^You interrupted me when I had said: " + r"\W+".join(told))
        assert await call.complaints() == []


async def test_sentences_are_tapped_and_typed_and_one_call_follows_another(service: Service, browser: Browser) -> None:
    async with open_page(browser, service.url) as call:
        await call.button("What time is it?").click()
        await call.connected()
        await call.reads(r"It is \d|My clock says \d")
        await call.type_in("what is your name")
        await call.reads("My name is Ada|I am called Ada")
        await call.button("Hang up").click()
        await call.shows("Ready when you are")
        await call.call()
        await expect(call.lines).to_have_count(1)  # The new greeting; what was said before is gone.
        await call.page.close()
        await service.until_free()


async def test_the_stop_button_stops(service: Service, browser: Browser) -> None:
    async with open_page(browser, service.url) as call:
        await call.call()
        await call.begins("Hello")
        await call.type_in("tell me a story")
        await call.begins(STORY)
        await call.button("Stop").click()
        await expect(call.lines.last).to_contain_text("cut off")
        await call.becomes("listening")
        await expect(call.button("Stop")).to_be_disabled()
        await call.record()
        assert utterances(await call.recorded(1.0)) == []
        assert await call.complaints() == []


async def test_a_call_needs_no_mouse(service: Service, browser: Browser) -> None:
    async with open_page(browser, service.url) as call:
        await focus(call, "call")
        await call.page.keyboard.press("Enter")
        await call.begins("Hello")
        await focus(call, "sentence")
        await call.page.keyboard.type("tell me a story")
        await call.page.keyboard.press("Enter")
        await call.begins(STORY)
        await call.page.keyboard.press("Escape")
        await expect(call.lines.last).to_contain_text("cut off")
        await focus(call, "hangup")
        await call.page.keyboard.press("Enter")
        await call.becomes("idle")


async def test_what_is_switched_off_does_not_leave(service: Service, browser: Browser, devices: Devices) -> None:
    devices.listen_to(*patiently("what time is it", 1.5, times=20))
    async with open_page(browser, service.url) as call:
        await call.button("Mute").click()
        await call.button("Camera").click()
        await call.call()
        await call.record()
        await expect(call.button("Unmute")).to_be_visible()
        await call.recorded(4.0)  # Long enough for the question to be asked in vain.
        await expect(call.lines).to_have_count(1)
        assert await call.ask("window.__call.pictures.sent") == 0
        await call.button("Unmute").click()
        await expect(call.lines).to_have_count(2)
        await call.button("Camera").click()
        await call.until("window.__call.pictures.sent >= 2")
        await call.button("Camera").click()
        await call.recorded(await call.ask("window.__witness.seconds") + 0.5)  # One may have been on its way.
        sent = await call.ask("window.__call.pictures.sent")
        await call.recorded(await call.ask("window.__witness.seconds") + 1.5)
        assert await call.ask("window.__call.pictures.sent") == sent


async def test_whoever_taps_to_talk_is_answered_when_they_are_done(
    service: Service, browser: Browser, devices: Devices
) -> None:
    devices.listen_to(5.0, *patiently("what time is it", 1.0, times=1))
    async with open_page(browser, service.url) as call:
        await call.button("Devices and settings").click()
        await call.page.locator("#choose-turns").select_option("tap")
        await call.page.keyboard.press("Escape")
        await call.call()
        await call.record()
        await call.button("Talk").click()
        await call.recorded(9.5)  # It was asked, and silence followed.
        assert await call.told("input_audio_buffer.committed") == []
        await call.button("Done").click()
        await call.begins(r"^(It is|My clock says) \d")
        assert words(await call.page.locator("#captions .line-you").last.inner_text()) == "what time is it"
        await call.page.evaluate("localStorage.clear()")


async def focus(call: CallPage, name: str) -> None:
    """Press the tab key until the element of this id has the focus."""
    for _ in range(30):
        await call.page.keyboard.press("Tab")
        if await call.ask("document.activeElement.id") == name:
            return
    pytest.fail(f"the tab key does not reach #{name}")
