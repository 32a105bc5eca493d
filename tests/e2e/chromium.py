"""The page in a real Chromium, as a person sees it: what can be read, pressed and heard."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from realtime.connection.frames import AudioMessage, decode_audio
from tests.browser import ARGUMENTS, chromium_path
from tests.e2e.devices import Devices
from tests.e2e.sounds import Sound, of_file

WITNESS = Path(__file__).with_name("page") / "witness.js"
TIMEOUT_MS = 60_000
LOOK_EVERY_MS = 30
DESKTOP = (1180, 820)

LOOPBACK = "window.__call.loopbackStream"
SPEAKER = "document.getElementById('speaker').srcObject"


class CallPage:
    """One page. `complaints`: whatever its console called an error, what it threw, what its policy refused."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._complaints: list[str] = []
        page.on("console", lambda said: self._complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self._complaints.append(str(error)))

    async def complaints(self) -> list[str]:
        return [*self._complaints, *await self.page.evaluate("window.__witness.violations")]

    # ------------------------------------------------------------------------------------------------ what it shows

    @property
    def lines(self) -> Locator:
        """Captions of the assistant, oldest first."""
        return self.page.locator("#captions .line-assistant")

    @property
    def notices(self) -> Locator:
        return self.page.locator("#notices")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def reads(self, text: str) -> str:
        """Wait until the assistant's captions match this regular expression, and the line is complete; returns it."""
        await self.begins(text)
        await self.becomes("listening")
        return await self.lines.filter(has_text=re.compile(text)).last.inner_text()

    async def begins(self, text: str) -> None:
        """Wait until the assistant's captions match this regular expression."""
        lines = "[...document.querySelectorAll('#captions .line-assistant')]"
        await self.until(f"{lines}.some((line) => new RegExp({json.dumps(text)}).test(line.textContent))")

    async def shows(self, word: str, advice: str = "") -> None:
        """Wait until the state of the call says so."""
        await expect(self.page.locator("#state-word")).to_have_text(word)
        if advice:
            await expect(self.page.locator("#state-hint")).to_contain_text(advice)

    async def becomes(self, *states: str) -> None:
        """Wait for one of these states (states.js)."""
        await self.until(f"{list(states)!r}.includes(window.__call.state)")

    async def until(self, condition: str) -> None:
        """Wait until this JavaScript holds. Not by `wait_for_function`, which the page's policy refuses."""
        named = json.dumps(condition)
        await self.page.evaluate(_UNTIL.format(condition=condition, named=named, every=LOOK_EVERY_MS, most=TIMEOUT_MS))

    async def ask(self, expression: str) -> Any:
        """The value of this JavaScript."""
        return await self.page.evaluate(expression)

    # ------------------------------------------------------------------------------------------------- what one does

    async def call(self) -> None:
        """Press the button, and be connected."""
        await self.page.locator("#call").click()
        await self.connected()

    async def connected(self) -> None:
        await self.until("document.body.hasAttribute('data-connected')")

    async def type_in(self, sentence: str) -> None:
        """Write a sentence and send it."""
        await self.page.locator("#sentence").fill(sentence)
        await self.button("Send").click()

    async def hang_up(self) -> None:
        """Back to rest."""
        await self.page.locator("#hangup").click()
        await self.becomes("idle")

    # ------------------------------------------------------------------------------------------------- what one hears

    async def record(self, stream: str = LOOPBACK) -> None:
        """Record a stream of the page from now on."""
        await self.page.evaluate(f"window.__witness.record({stream})")

    async def recorded(self, seconds: float = 0.0) -> Sound:
        """The recording, once it is that long."""
        await self.until(f"window.__witness.seconds > {seconds}")
        return of_file(base64.b64decode(await self.page.evaluate("window.__witness.recording()")))

    async def told(self, *kinds: str) -> list[dict[str, Any]]:
        """What the gateway told the page so far, of these kinds."""
        events = [json.loads(text) for text in await self.page.evaluate("window.__witness.events")]
        return [event for event in events if event["type"] in kinds]

    async def received(self) -> list[AudioMessage]:
        """Every message of the channel `audio`."""
        data = base64.b64decode(await self.page.evaluate("window.__witness.spoken()"))
        messages, start = [], 0
        while start < len(data):
            (size,) = struct.unpack_from("<I", data, start)
            messages.append(decode_audio(data[start + 4 : start + 4 + size]))
            start += 4 + size
        return messages


_UNTIL = r"""() => new Promise((resolve, reject) => {{
  const said = () => JSON.stringify(window.__call);
  const end = performance.now() + {most};
  const look = () => {{
    if ({condition}) resolve(null);
    else if (performance.now() > end) reject(new Error([{named}, said(), document.body.innerText].join("\n")));
    else setTimeout(look, {every});
  }};
  look();
}})"""


@asynccontextmanager
async def chromium(
    devices: Devices | None, *flags: str, without: Sequence[str] = (), env: dict[str, str] | None = None
) -> AsyncIterator[Browser]:
    """A headless Chromium with these devices; `without` names arguments of `tests.browser` to leave out."""
    arguments = [argument for argument in ARGUMENTS if argument not in without]
    arguments += [*(devices.arguments if devices else ()), *flags]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), args=arguments, env={**os.environ, **(env or {})}
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_page(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = DESKTOP,
    permissions: Sequence[str] = (),
    script: str = "",
    **options: Any,
) -> AsyncIterator[CallPage]:
    """The page at rest, in a profile of its own. `permissions` are granted; `script` runs
    before the page's own; `options` are of the browser context.

    It moves as little as people can ask for: drawing what moves, without a graphics card, costs as much as the call.
    """
    width, height = size
    options = {"reduced_motion": "reduce", **options}
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    try:
        await context.grant_permissions(list(permissions), origin=url)
        await context.add_init_script(path=WITNESS)
        await context.add_init_script(script)
        call_page = CallPage(await context.new_page())
        await call_page.page.goto(url)
        await call_page.until("'__call' in window")
        yield call_page
    finally:
        await context.close()
