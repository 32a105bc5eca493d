"""The page in Chromium, instrumented (see `page/instrument.js`): calls that can be measured."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from realtime.media.decoder import Samples
from tests.bench.lossy_link import LossyLink
from tests.bench.sound import room_noise
from tests.browser import ARGUMENTS, chromium_path

FOLDER = Path(__file__).with_name("page")
MICROPHONE, PLAYER, LOOPBACK = 0, 1, 2
"""Inputs of the tap, as `sounds` names them."""

TIMEOUT_MS = 15_000
WINDOW: ViewportSize = {"width": 360, "height": 640}
"""Software draws the page here, on the cores that are measured: a small window without motion costs little."""


class ChromiumCall:
    """One page. `sound` lists are what `window.__bench` says."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def call(self) -> float:
        """Click, wait until it listens; returns how long the page says that took, ms."""
        await self.page.click("#call")
        await self.page.wait_for_function("window.__call.connectedMs > 0", timeout=TIMEOUT_MS)
        return float(await self.page.evaluate("window.__call.connectedMs"))

    async def watch(self) -> None:
        """Begin to watch the sounds of the call that is up."""
        await self.page.evaluate("window.__bench.watch()")

    async def hang_up(self) -> None:
        """Back to rest."""
        await self.page.click("#hangup")
        await self.page.wait_for_function("window.__call.state === 'idle'", timeout=TIMEOUT_MS)

    async def send(self, **event: Any) -> None:
        """An event to the gateway."""
        await self.page.evaluate("event => window.__bench.send(event)", event)

    async def say(self, samples: Samples, rate: int, after: float = 0.05) -> float:
        """Speak into the microphone; returns when, on the page's audio clock (seconds)."""
        floats = (samples / 32768).round(5).tolist()
        spoken = await self.page.evaluate(
            "([samples, rate, after]) => window.__bench.play(samples, rate, after)", [floats, rate, after]
        )
        return float(spoken)

    async def wait(self, condition: str, argument: Any = None) -> None:
        """Until the JavaScript condition holds."""
        await self.page.wait_for_function(condition, arg=argument, timeout=TIMEOUT_MS, polling=20)

    async def bench(self, name: str) -> Any:
        """One of the lists of `window.__bench`."""
        return await self.page.evaluate("name => window.__bench[name]", name)

    async def forget(self) -> None:
        """Empty the lists."""
        await self.page.evaluate(
            "for (const name of ['sounds', 'arrivals', 'gaps', 'mutes', 'events']) window.__bench[name].length = 0"
        )


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium; raises where there is none."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_page(
    browser: Browser, url: str, *, noise: bool = True, link: LossyLink | None = None
) -> AsyncIterator[ChromiumCall]:
    """The page at rest. With `noise` its microphone hears a quiet room; `link` is the network it calls over."""
    context = await browser.new_context(bypass_csp=True, viewport=WINDOW, reduced_motion="reduce")
    try:
        await context.add_init_script(path=FOLDER / "instrument.js")
        room = (room_noise(2) / np.float32(32768)).round(5).tolist() if noise else None
        given = {"tapSource": (FOLDER / "bench-tap-worklet.js").read_text(), "noise": room}
        await context.add_init_script(f"Object.assign(window.__bench, {json.dumps(given)})")
        if link is not None:
            await link.join(context)
        page = await context.new_page()
        await page.goto(url)
        await page.wait_for_function("'__call' in window")
        yield ChromiumCall(page)
    finally:
        await context.close()
