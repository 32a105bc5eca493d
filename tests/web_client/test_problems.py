"""Every way a call can fail, in words, with what to do; afterwards the page is at rest and can call again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

REFUSE = """([status, body, headers]) => {
  gateway.refusal = () => new Response(JSON.stringify(body), { status, headers });
}"""

MEDIA = """([name, device]) => {
  const granted = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    if (wanted[device]) throw new DOMException("no", name);
    return granted(wanted);
  };
}"""


def error(code: str, message: str = "in the service's own words") -> dict[str, Any]:
    return {"error": {"type": "server_error", "code": code, "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "title"),
    [
        (503, error("server_full"), "All lines are busy"),
        (503, error("model_server_unavailable"), "The assistant is not ready"),
        (403, error("origin_not_allowed"), "This address is not allowed"),
        (421, error("unknown_host"), "This address is not allowed"),
        (404, error("unknown_ticket"), "Your place in line is gone"),
        (400, error("invalid_offer"), "The call was not taken"),
        (500, "no JSON object", "The call was not taken"),
    ],
)
async def test_refusals(caller: Page, status: int, body: Any, title: str) -> None:
    await caller.evaluate(REFUSE, [status, body, {}])
    await caller.locator("#call").click()
    await expect(caller.locator("#state-word")).to_have_text(title)
    await expect(caller.locator("#state-hint")).not_to_be_empty()
    await expect(caller.locator("#call")).to_have_text("Call again")
    await caller.evaluate("gateway.refusal = null")
    await caller.locator("#call").click()
    await caller.locator("body[data-state=listening]").wait_for()


async def test_no_service(caller: Page) -> None:
    await caller.evaluate("() => { gateway.refusal = () => { throw new TypeError('Failed to fetch'); }; }")
    await caller.locator("#call").click()
    await expect(caller.locator("#state-word")).to_have_text("The service does not answer")


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("NotAllowedError", "The microphone is blocked"),
        ("NotFoundError", "No microphone found"),
        ("NotReadableError", "The microphone is in use"),
        ("TypeError", "The microphone did not start"),
    ],
)
async def test_no_microphone(caller: Page, name: str, title: str) -> None:
    await caller.evaluate(MEDIA, [name, "audio"])
    await caller.locator("#call").click()
    await expect(caller.locator("#state-word")).to_have_text(title)
    assert await caller.evaluate("gateway.requests") == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NotAllowedError", "Voice only: the camera is blocked."),
        ("NotFoundError", "Voice only: no camera found."),
        ("NotReadableError", "Voice only: the camera is in use."),
    ],
)
async def test_without_a_camera_the_call_is_voice_only(caller: Page, name: str, words: str) -> None:
    await caller.evaluate(MEDIA, [name, "video"])
    await caller.locator("#call").click()
    await caller.locator("body[data-state=listening]").wait_for()
    await expect(caller.locator("#notices")).to_contain_text(words)
    media = await caller.evaluate("gateway.event('media.state')")
    assert (media["microphone"], media["camera"]) == ("live", "off")


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ("Object.defineProperty(window, 'isSecureContext', {value: false})", "This address is not secure"),
        ("delete window.RTCPeerConnection", "This browser cannot make calls"),
    ],
)
async def test_a_browser_that_cannot(caller: Page, change: str, title: str) -> None:
    await caller.evaluate(change)
    await caller.locator("#call").click()
    await expect(caller.locator("#state-word")).to_have_text(title)


async def test_a_microphone_that_goes_ends_the_call_in_words(caller: Page) -> None:
    keep = """() => {
      const granted = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => (window.granted = await granted(wanted));
    }"""
    await caller.evaluate(keep)
    await caller.locator("#call").click()
    await caller.locator("body[data-state=listening]").wait_for()
    await caller.evaluate("granted.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
    await expect(caller.locator("#state-word")).to_have_text("The microphone is gone")


async def test_the_waiting_line(caller: Page) -> None:
    queue = [{"ticket": "t1", "place": place, "wait_s": 20.0 * place} for place in (3, 2)]
    await caller.evaluate(
        "(places) => { gateway.refusal = () => new Response(JSON.stringify(places.shift()), {status: 202}); }", queue
    )
    await caller.locator("#call").click()
    await caller.locator("body[data-state=waiting]").wait_for()
    await expect(caller.locator("#state-word")).to_have_text("In line")
    await expect(caller.locator("#state-hint")).to_have_text("You are number 3. About 60 seconds.")
    await expect(caller.locator("#place")).to_have_text("3")
    await expect(caller.locator("#state-hint")).to_have_text("You are number 2. About 40 seconds.")
    await caller.evaluate("gateway.refusal = null")
    await caller.locator("body[data-state=listening]").wait_for()
    posts = await caller.evaluate("gateway.requests.map((request) => request.headers)")
    assert [headers.get("Call-Ticket") for headers in posts] == [None, "t1", "t1"]
    assert {headers["Prefer"] for headers in posts} == {"wait"}


async def test_leaving_the_line(caller: Page) -> None:
    place = json.dumps({"ticket": "t1", "place": 1, "wait_s": 0})
    await caller.evaluate("(place) => { gateway.refusal = () => new Response(place, {status: 202}); }", place)
    await caller.locator("#call").click()
    await expect(caller.locator("#state-hint")).to_have_text("You are next.")
    await expect(caller.locator("#hangup")).to_have_text("Leave the line")
    await caller.locator("#hangup").click()
    await caller.locator("body[data-state=idle]").wait_for()
    assert await caller.evaluate("gateway.requests.length") == 1
