"""The state of the call: a table of signals and what the person sees after them."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

RUN = """async (steps) => {
  const { IDLE, next } = await import("/states.js");
  let state = IDLE;
  for (const [signal, now] of steps) state = next(state, signal, now);
  return state;
}"""

LIVE = ["call", "connected"]


async def run(page: Page, signals: list[str | dict[str, Any]]) -> dict[str, Any]:
    """The state after these signals, one each 10 ms."""
    steps = [[{"type": s} if isinstance(s, str) else s, 10 * i] for i, s in enumerate(signals)]
    return dict(await page.evaluate(RUN, steps))


@pytest.mark.parametrize(
    ("signals", "name"),
    [
        ([], "idle"),
        (["call"], "connecting"),
        (["call", "call"], "connecting"),
        (["connected"], "idle"),
        (["speaking"], "idle"),
        (["call", {"type": "queued", "place": 2, "waitS": 9}], "waiting"),
        (["call", {"type": "queued", "place": 2, "waitS": 9}, "connected"], "listening"),
        ([{"type": "queued", "place": 2, "waitS": 9}], "idle"),
        (LIVE, "listening"),
        ([*LIVE, "call"], "listening"),
        ([*LIVE, "hearing"], "listening"),
        ([*LIVE, "hearing", "unheard", "asked"], "thinking"),
        ([*LIVE, "asked", "hearing"], "listening"),
        ([*LIVE, "asked", "responding", "speaking"], "speaking"),
        ([*LIVE, "responding", "answered"], "listening"),
        ([*LIVE, "speaking", "answered"], "speaking"),
        ([*LIVE, "speaking", "spoken"], "listening"),
        ([*LIVE, "speaking", "hearing"], "speaking"),
        ([*LIVE, "speaking", "asked"], "speaking"),
        ([*LIVE, "speaking", "paused"], "listening"),
        ([*LIVE, "speaking", "paused", "speaking"], "speaking"),
        ([*LIVE, "speaking", "paused", "interrupted"], "interrupted"),
        ([*LIVE, "speaking", "interrupted"], "interrupted"),
        ([*LIVE, "interrupted"], "listening"),
        ([*LIVE, "responding", "interrupted"], "interrupted"),
        ([*LIVE, "speaking", "interrupted", "tick"], "interrupted"),
        ([*LIVE, "speaking", "interrupted", "responding"], "thinking"),
        ([*LIVE, "speaking", "hangup"], "idle"),
        ([*LIVE, "hangup", "speaking"], "idle"),
        (["call", "hangup"], "idle"),
    ],
)
async def test_transitions(blank: Page, signals: list[str | dict[str, Any]], name: str) -> None:
    assert (await run(blank, signals))["name"] == name


@pytest.mark.parametrize("before", [[], ["call"], LIVE, [*LIVE, "speaking"]])
async def test_a_problem_ends_every_state_and_a_call_begins_again(blank: Page, before: list[Any]) -> None:
    problem = {"type": "problem", "problem": {"code": "x", "title": "T", "advice": "A"}}
    state = await run(blank, [*before, problem])
    assert (state["name"], state["problem"]["title"]) == ("problem", "T")
    again = await run(blank, [*before, problem, "call"])
    assert (again["name"], again["problem"]) == ("connecting", None)


async def test_interrupted_and_thinking_end_by_themselves(blank: Page) -> None:
    steps = [["call", 0], ["connected", 0], ["speaking", 0], ["interrupted", 100], ["tick", 1299]]
    signals = [[{"type": name}, now] for name, now in steps]
    assert (await blank.evaluate(RUN, signals))["name"] == "interrupted"
    assert (await blank.evaluate(RUN, [*signals, [{"type": "tick"}, 1300]]))["name"] == "listening"
    thinking = [[{"type": name}, now] for name, now in [("call", 0), ("connected", 0), ("asked", 0), ("tick", 20_000)]]
    assert (await blank.evaluate(RUN, thinking))["name"] == "listening"


async def test_the_place_in_line_is_kept_up_to_date(blank: Page) -> None:
    queue = [{"type": "queued", "place": place, "waitS": 30 * place} for place in (3, 2, 1)]
    state = await run(blank, ["call", *queue])
    assert (state["place"], state["waitS"]) == (1, 30)


async def test_being_heard_survives_the_interruption(blank: Page) -> None:
    state = await run(blank, [*LIVE, "speaking", "hearing", "interrupted"])
    assert (state["name"], state["hearing"]) == ("interrupted", True)
