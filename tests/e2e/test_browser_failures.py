"""Whatever can keep a call from happening is said in words, with what to do about it, and the page can go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.chromium import CallPage, chromium, open_page
from tests.e2e.devices import Devices
from tests.service import Service, running_service

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

KIOSK = "kiosk.test"
GRANTS_ALL = "--use-fake-ui-for-media-stream"
HAS_DEVICES = "--use-fake-device-for-media-stream"
NO_SOUND_CARD = {"ALSA_CONFIG_PATH": "/dev/null", "PULSE_SERVER": "unix:/nonexistent", "PIPEWIRE_REMOTE": "nonexistent"}
WITH_BOTH = ("microphone", "camera")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(devices: Devices) -> AsyncIterator[Browser]:
    """It has a microphone and a camera, and pages get what their test grants."""
    async with chromium(devices, f"--host-resolver-rules=MAP {KIOSK} 127.0.0.1", without=[GRANTS_ALL]) as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    limits = ("--max-calls", "1", "--waiting-places", "1")
    async with running_service("--engine", "echo", "--no-greeting", *limits, "--allowed-hosts", KIOSK) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def without_model_server(browser: Browser) -> AsyncIterator[CallPage]:
    """A page that calls in vain: for ten seconds the service hopes, so it begins before the first test."""
    async with (
        running_service("--model-server", "ws://localhost:1", ready=False) as service,
        open_page(browser, service.url, permissions=WITH_BOTH) as call,
    ):
        await call.page.locator("#call").click()
        yield call


async def says(call: CallPage, word: str, advice: str) -> None:
    """The page tells the problem, in these words and no others, and offers to call again."""
    await call.shows(word, advice)
    await call.becomes("problem")
    await expect(call.button("Call again")).to_be_visible()
    await expect(call.page.locator("#hangup")).to_be_hidden()


async def test_a_microphone_that_is_denied(service: Service, browser: Browser) -> None:
    async with open_page(browser, service.url) as call:
        await call.button("Call").first.click()
        await says(call, "The microphone is blocked", "Allow the microphone for this page")
        await call.page.context.grant_permissions(["microphone"], origin=service.url)
        await call.button("Call again").click()
        await call.connected()


async def test_a_camera_that_is_denied_leaves_the_voice(service: Service, browser: Browser) -> None:
    await service.until_free()
    async with open_page(browser, service.url, permissions=["microphone"]) as call:
        await call.call()
        await expect(call.notices).to_contain_text("Voice only: the camera is blocked")
        await call.type_in("good morning")
        await call.begins("you typed good morning")
        assert await call.ask("window.__call.pictures.sent") == 0


async def test_no_microphone_at_all(service: Service) -> None:
    async with (
        chromium(None, without=[HAS_DEVICES], env=NO_SOUND_CARD) as browser,
        open_page(browser, service.url) as call,
    ):
        await call.page.locator("#call").click()
        await says(call, "No microphone found", "Connect a microphone or a headset")


async def test_an_address_that_is_not_secure(service: Service, browser: Browser) -> None:
    async with open_page(browser, f"http://{KIOSK}:{service.ports['http']}") as call:
        await call.page.locator("#call").click()
        await says(call, "This address is not secure", "Open this page with https://")


async def test_all_lines_busy_is_a_place_in_line_and_then_a_call(service: Service, browser: Browser) -> None:
    await service.until_free()
    async with (
        open_page(browser, service.url, permissions=WITH_BOTH) as first,
        open_page(browser, service.url, permissions=WITH_BOTH) as second,
        open_page(browser, service.url, permissions=WITH_BOTH) as third,
    ):
        await first.call()
        await second.page.locator("#call").click()
        await second.shows("In line", "You are next.")
        await third.page.locator("#call").click()
        await says(third, "All lines are busy", "Try again in a moment")
        await first.hang_up()
        await second.connected()
        await second.type_in("at last")
        await second.begins("you typed at last")


async def test_leaving_the_line(service: Service, browser: Browser) -> None:
    await service.until_free()
    async with (
        open_page(browser, service.url, permissions=WITH_BOTH) as first,
        open_page(browser, service.url, permissions=WITH_BOTH) as second,
    ):
        await first.call()
        await second.page.locator("#call").click()
        await second.becomes("waiting")
        await second.button("Leave the line").click()
        await second.shows("Ready when you are")
        assert await first.ask("window.__call.state") == "listening"


async def test_no_model_server(without_model_server: CallPage) -> None:
    await says(without_model_server, "The assistant is not ready", "Try again in a moment")


async def test_a_service_that_dies_in_a_call(browser: Browser) -> None:
    async with running_service("--engine", "echo", "--no-greeting") as service:
        async with open_page(browser, service.url, permissions=WITH_BOTH) as call:
            await call.call()
            [child] = psutil.Process(service.process.pid).children()
            service.process.kill()
            await says(call, "The connection was lost", "then call again")
            await call.button("Call again").click()
            await says(call, "The service does not answer", "Check your network connection")
        psutil.wait_procs([child], timeout=10)
        assert not child.is_running()
