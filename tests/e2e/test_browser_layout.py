"""A call fits every screen, light and dark: pictures of one that runs, and where its controls are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.chromium import CallPage, open_page
from tests.e2e.devices import Devices
from tests.e2e.scenes import apple_on_a_table
from tests.service import Service, running_service

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SCREENS = {
    "small phone": (360, 640),
    "phone": (390, 844),
    "phone on its side": (844, 390),
    "tablet": (820, 1180),
    "tablet on its side": (1180, 820),
    "desktop": (1440, 900),
}
CONTROLS = ("mute", "camera", "stop", "hangup", "sentence", "send", "state-word")

BOXES = """(names) => ({
  boxes: Object.fromEntries(names.map((name) => {
    const box = document.getElementById(name).getBoundingClientRect();
    return [name, [box.left, box.top, box.right, box.bottom]];
  })),
  captions: document.getElementById("captions").clientHeight,
  scrolls: document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight,
})"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    async with running_service("--no-greeting") as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def call(service: Service, browser: Browser, devices: Devices) -> AsyncIterator[CallPage]:
    """A call in which the assistant has seen an apple."""
    devices.look_at(apple_on_a_table())
    async with open_page(browser, service.url) as call:
        await call.call()
        await call.until("window.__call.pictures.sent > 2")  # So that one is in a second that is over.
        await call.type_in("what colour do you see")
        await call.reads(r"\bred\b")
        yield call


@pytest.mark.parametrize("screen", SCREENS)
async def test_nothing_is_below_the_fold(call: CallPage, screen: str, tmp_path: Path) -> None:
    width, height = SCREENS[screen]
    await call.page.set_viewport_size({"width": width, "height": height})
    for scheme in ("light", "dark"):
        await call.page.emulate_media(color_scheme=scheme)
        await call.page.screenshot(path=tmp_path / f"{width}-{scheme}.png", animations="disabled")
    layout = await call.page.evaluate(BOXES, CONTROLS)
    outside = {name: box for name, box in layout["boxes"].items() if not within(box, width, height)}
    assert outside == {}
    assert overlapping(layout["boxes"]) == []
    assert layout["captions"] >= 60
    assert not layout["scrolls"]
    for name in ("Mute", "Camera", "Stop", "Hang up", "Send"):
        await expect(call.button(name)).to_be_visible()


def within(box: list[float], width: int, height: int) -> bool:
    """The box has a size and is inside of the screen."""
    left, top, right, bottom = box
    return 0 <= left < right <= width and 0 <= top < bottom <= height


def overlapping(boxes: dict[str, Any]) -> list[tuple[str, str]]:
    """Pairs of controls that cover each other."""
    names = [name for name in boxes if name != "sentence"]  # The button to send may sit inside its field.
    return [
        (one, other)
        for index, one in enumerate(names)
        for other in names[index + 1 :]
        if boxes[one][0] < boxes[other][2]
        and boxes[other][0] < boxes[one][2]
        and boxes[one][1] < boxes[other][3]
        and boxes[other][1] < boxes[one][3]
    ]
