"""The person chooses in which voice the assistant speaks, where the engine has several."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.web_client.test_call import event, place_call

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_voice_is_chosen_and_remembered_for_the_next_call(caller: Page) -> None:
    await caller.locator("#settings-button").click()
    await expect(caller.locator("#voice-choice")).to_be_hidden()
    await caller.keyboard.press("Escape")
    await caller.evaluate("gateway.session.capabilities.voices = ['warm', 'very_calm']")
    await place_call(caller)
    await caller.locator("#settings-button").click()
    names = caller.locator("#choose-voice option")
    await expect(names).to_have_text(["The usual one", "warm", "very calm"])
    await caller.locator("#choose-voice").select_option("very_calm")
    assert (
        await caller.evaluate(
            "gateway.until(() => gateway.events.filter((e) => e.type === 'session.update').at(-1)?.session.voice)"
        )
        == "very_calm"
    )
    await caller.keyboard.press("Escape")
    await caller.locator("#hangup").click()
    await caller.evaluate("gateway.events.length = 0")
    await place_call(caller)
    assert await event(caller, "session.update")
    assert await caller.evaluate("gateway.until(() => gateway.events.find((e) => e.session?.voice === 'very_calm'))")
