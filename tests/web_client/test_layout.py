"""The page on every screen: all controls in sight, large enough, named, in order, readable."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SCREENS = [(360, 640), (390, 844), (844, 390), (820, 1180), (1180, 820), (1440, 900)]
STATES = ["idle", "connecting", "waiting", "listening", "thinking", "speaking", "interrupted", "problem"]

NOTICE = "Your microphone delivers only silence. Is it muted by a switch or held by another app? Choose another one."

DRAW = """async ([name, notices]) => {
  const { View } = await import("/view.js");
  const { IDLE, isConnected } = await import("/states.js");
  const { problem } = await import("/problems.js");
  const engine = (await (await fetch("/v1/config")).json()).engine;
  window.view ??= new View(document);
  const trouble = name === "problem" ? problem("microphone_denied") : null;
  const state = { ...IDLE, name, place: 12, waitS: 100, problem: trouble };
  const live = isConnected(state);
  window.view.render({
    state, muted: false, cameraOn: true, cameraLive: live, mirrored: true, canFlip: true, canStop: name === "speaking",
    brand: engine.model, standIn: engine.notice,
    manner: live ? "Museum desk · Voice: very calm" : "", about: "", suggestions: engine.suggestions, notices,
  });
  const line = (id, who, text) => ({ id, who, text, shown: text.length, cut: false, live: false });
  const text = "A sentence of some length. ".repeat(3);
  const lines = [...Array(12)].map((_, i) => line(`${i}`, i % 2 ? "you" : "assistant", text));
  window.view.captions.render(live ? lines : []);
}"""

MEASURE = """() => {
  const shown = (element) => element.checkVisibility() && !element.closest("dialog") && !element.closest(".away");
  const box = (element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return { name: element.id || element.textContent.trim(), left, top, right, bottom };
  };
  const boxes = (selector) => [...document.querySelectorAll(selector)].filter(shown).map(box);
  return {
    controls: boxes("button:not(#suggestions button):not(#orb), input:not([type=file])"),
    chips: boxes("#suggestions button"),
    row: boxes("#suggestions"),
    parts: boxes("#manner, #orb, .state, #captions, #suggestions, #composer, #dock, #self-view, #notices"),
    scrolls: [document.documentElement.scrollHeight > innerHeight, document.documentElement.scrollWidth > innerWidth],
  };
}"""


async def draw(page: Page, state: str, *notices: str) -> dict[str, Any]:
    await page.evaluate(DRAW, [state, [{"key": text, "text": text} for text in notices]])
    return dict(await page.evaluate(MEASURE))


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    wide = min(a["right"], b["right"]) - max(a["left"], b["left"])
    high = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
    return wide > 1 and high > 1


@pytest.mark.parametrize(("width", "height"), SCREENS)
async def test_everything_is_in_sight_in_every_state(page: Page, width: int, height: int) -> None:
    await page.set_viewport_size({"width": width, "height": height})
    for state, notices in [*((state, []) for state in STATES), ("speaking", [NOTICE, "Another notice."])]:
        seen = await draw(page, state, *notices)
        assert seen["scrolls"] == [False, False], state
        for box in [*seen["controls"], *seen["row"], *seen["parts"]]:
            inside = (
                box["left"] >= -1 and box["top"] >= -1 and box["right"] <= width + 1 and box["bottom"] <= height + 1
            )
            assert inside, (state, box)
        for box in seen["chips"]:
            assert box["bottom"] <= height + 1, (state, box)


@pytest.mark.parametrize(("width", "height"), SCREENS)
async def test_nothing_covers_anything_else(page: Page, width: int, height: int) -> None:
    await page.set_viewport_size({"width": width, "height": height})
    for state in STATES:
        parts = (await draw(page, state))["parts"]
        clashes = [
            (a["name"], b["name"])
            for index, a in enumerate(parts)
            for b in parts[index + 1 :]
            if overlap(a, b) and {a["name"], b["name"]} != {"orb", "self-view"}
        ]
        assert clashes == [], state


@pytest.mark.parametrize(("width", "height"), SCREENS)
async def test_targets_are_large_enough_and_captions_have_room(page: Page, width: int, height: int) -> None:
    await page.set_viewport_size({"width": width, "height": height})
    seen = await draw(page, "speaking")
    for box in [*seen["controls"], *seen["chips"]]:
        assert box["bottom"] - box["top"] >= 44, box
        assert box["right"] - box["left"] >= 44, box
    captions = next(box for box in seen["parts"] if box["name"] == "captions")
    assert captions["bottom"] - captions["top"] >= 90


NAMELESS = """() => {
  const named = (element) => element.getAttribute("aria-label") || element.getAttribute("aria-labelledby")
    || element.labels?.length || element.textContent.trim() || element.hasAttribute("aria-hidden");
  const all = [...document.querySelectorAll("button, input, select, video, dialog")];
  return all.filter((element) => !named(element)).map((element) => element.outerHTML);
}"""


async def test_every_control_has_a_name(page: Page) -> None:
    for state in ("idle", "speaking"):
        await draw(page, state)
        nameless = await page.evaluate(NAMELESS)
        assert nameless == []


IN_CALL = ["mute", "camera", "flip", "stop", "hangup"]


@pytest.mark.parametrize(
    ("state", "order"),
    [
        ("idle", ["settings-button", *["chip"] * 5, "mute", "call", "camera"]),
        (
            "speaking",
            ["settings-button", "captions", *["chip"] * 5, "show-picture", "sentence", "send", *IN_CALL],
        ),
    ],
)
async def test_the_keyboard_reaches_everything_in_order(page: Page, state: str, order: list[str]) -> None:
    await draw(page, state)
    reached = []
    for _ in order:
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id || 'chip'"))
    assert reached == order


async def test_the_settings_open_and_close_by_keyboard(page: Page) -> None:
    await page.locator("#settings-button").press("Enter")
    await page.locator("#settings[open]").wait_for()
    await page.keyboard.press("Escape")
    await page.locator("#settings:not([open])").wait_for(state="attached")
    assert await page.evaluate("document.activeElement.id") == "settings-button"


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const style = getComputedStyle(document.body);
  const token = (name) => rgb(style.getPropertyValue(name));
  const names = ["page", "panel", "ink", "soft", "go", "end"];
  const tokens = names.map((name) => [name, token(name === "soft" ? "--ink-soft" : `--${name}`)]);
  return { word: token("--tone"), white: [255, 255, 255], ...Object.fromEntries(tokens) };
}"""


def luminance(colour: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: list[float], b: list[float]) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_words_contrast_with_what_they_stand_on(browser: Browser, site: str, scheme: Any) -> None:
    context = await browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    page = await context.new_page()
    await page.goto(site)
    for state in STATES:
        await draw(page, state)
        seen = await page.evaluate(CONTRAST)
        tinted = [0.13 * tone + 0.87 * ground for tone, ground in zip(seen["word"], seen["page"], strict=True)]
        assert contrast(seen["word"], tinted) >= 4.5 if state != "problem" else contrast(seen["word"], tinted) >= 4, (
            state
        )
        for words, ground in [("ink", "page"), ("ink", "panel"), ("soft", "page"), ("soft", "panel")]:
            assert contrast(seen[words], seen[ground]) >= 4.5, (scheme, words, ground)
        assert contrast(seen["white"], seen["go"]) >= 3
        assert contrast(seen["white"], seen["end"]) >= 3
    await context.close()


ANNOUNCED = """() => {
  const line = (live, shown) => ({ id: "x", who: "assistant", text: "One two.", shown, cut: false, live });
  const spoken = document.getElementById("spoken-captions");
  view.captions.clear();
  return [line(true, 3), line(true, 8), line(false, 8), line(false, 8)].map((state) => {
    view.captions.render([state]);
    return spoken.textContent;
  });
}"""


async def test_only_complete_lines_are_announced(page: Page) -> None:
    await draw(page, "speaking")
    lines = await page.evaluate(ANNOUNCED)
    assert lines == ["", "", "Assistant: One two.", "Assistant: One two."]


BELOW = """async () => {
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const box = document.getElementById("captions");
  return box.scrollHeight - box.scrollTop - box.clientHeight;
}"""


async def test_the_newest_words_stay_in_sight_when_a_notice_takes_room(page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await draw(page, "speaking")
    await draw(page, "speaking", NOTICE)
    assert await page.evaluate(BELOW) <= 1
