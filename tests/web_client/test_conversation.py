"""What the gateway's events mean for the page, and the pure clock of what was heard."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HEARD = """async (steps) => {
  const { HeardClock } = await import("/heard.js");
  const clock = new HeardClock();
  return steps.map(([step, ...values]) => clock[step](...values)).filter((value) => value !== undefined);
}"""

CONVERSE = """async (steps) => {
  const { Conversation } = await import("/conversation.js");
  const player = Object.assign(new EventTarget(), { told: [] });
  for (const name of ["started", "generated", "stopped", "flush", "pause", "resume"]) {
    player[name] = (...values) => player.told.push([name, ...values]);
  }
  let now = 0;
  const sent = [];
  const signals = [];
  const conversation = new Conversation({ send: (event) => sent.push(event), player, reports: true, now: () => now });
  conversation.addEventListener("signal", (event) => signals.push(event.detail.type));
  for (const [at, step, value] of steps) {
    now = at;
    if (step === "event") conversation.handle(value);
    else if (step === "progress") player.dispatchEvent(new CustomEvent("progress", { detail: value }));
    else conversation[step](value);
  }
  return { sent, signals, told: player.told, replies: conversation.replies };
}"""


async def heard(page: Page, *steps: list[Any]) -> list[float]:
    return list(await page.evaluate(HEARD, list(steps)))


async def converse(page: Page, *steps: list[Any]) -> dict[str, Any]:
    return dict(await page.evaluate(CONVERSE, list(steps)))


def created(number: int) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": f"r{number}", "status": "in_progress"}, "number": number}


def progress(number: int, ms: float, **also: Any) -> dict[str, Any]:
    base = {"concealedMs": 0, "bufferedMs": 100, "audible": True, "flushed": False, "final": False}
    return {"number": number, "heardMs": ms, **base, **also}


async def test_heard_is_the_position_as_it_was_before_the_delay(blank: Page) -> None:
    reports = [["report", 1.0, 0], ["report", 1.1, 100], ["report", 1.2, 100], ["report", 1.3, 200]]
    asked = [["at", time, 0.1] for time in (1.05, 1.1, 1.15, 1.25, 1.35, 1.4, 9.0)]
    assert await heard(blank, *reports, *asked) == pytest.approx([0, 0, 50, 100, 150, 200, 200])


async def test_heard_never_goes_back_when_the_delay_grows(blank: Page) -> None:
    reports = [["report", 1.0, 0], ["report", 2.0, 1000]]
    assert await heard(blank, *reports, ["at", 2.0, 0.1], ["at", 2.0, 0.5]) == pytest.approx([900, 900])


async def test_nothing_is_heard_before_the_first_report(blank: Page) -> None:
    assert await heard(blank, ["at", 5.0, 0.1]) == [0]


async def test_reports_come_often_enough_and_not_more(blank: Page) -> None:
    ticks = [[40 * i, "progress", progress(1, 40.0 * i)] for i in range(1, 26)]
    result = await converse(blank, [0, "event", created(1)], *ticks)
    times = [ack["played_ms"] for ack in result["sent"]]
    gaps = [b - a for a, b in pairwise(times)]
    assert times[0] == 40
    assert gaps
    assert max(gaps) <= 200
    assert min(gaps) >= 120


async def test_the_last_report_comes_at_once_and_alone(blank: Page) -> None:
    over = progress(1, 50, final=True)
    result = await converse(
        blank,
        [0, "event", created(1)],
        [10, "progress", progress(1, 40)],
        [20, "progress", over],
        [30, "progress", over],
    )
    assert [(ack["played_ms"], ack["final"]) for ack in result["sent"]] == [(40, False), (50, True)]
    assert result["signals"] == ["responding", "speaking", "spoken"]


async def test_a_clear_is_answered_for_replies_that_never_sounded(blank: Page) -> None:
    cleared = {"type": "output_audio_buffer.cleared", "response_id": "r2"}
    result = await converse(blank, [0, "event", created(1)], [0, "event", created(2)], [0, "event", cleared])
    finals = [(ack["response_id"], ack["played_ms"], ack["final"]) for ack in result["sent"]]
    assert finals == [("r1", 0, True), ("r2", 0, True)]
    assert result["told"] == [["flush", 2]]


async def test_a_second_clear_of_the_same_reply_says_nothing(blank: Page) -> None:
    cleared = [0, "event", {"type": "output_audio_buffer.cleared", "response_id": "r1"}]
    result = await converse(blank, [0, "event", created(1)], [0, "stop", None], cleared, cleared)
    assert [event["type"] for event in result["sent"]] == ["output_audio_buffer.clear", "playback.ack"]


async def test_stop_with_nothing_to_stop_says_nothing(blank: Page) -> None:
    assert (await converse(blank, [0, "stop", None]))["sent"] == []


async def test_a_sentence_without_a_reply_in_progress_clears_nothing(blank: Page) -> None:
    result = await converse(blank, [0, "say", "hello"])
    assert [event["type"] for event in result["sent"]] == ["conversation.item.create", "response.create"]


async def test_events_about_unknown_responses_and_of_unknown_types_change_nothing(blank: Page) -> None:
    kinds = ["cleared", "paused", "resumed", "started", "stopped"]
    stray = [[0, "event", {"type": f"output_audio_buffer.{kind}", "response_id": "gone"}] for kind in kinds]
    unknown = [0, "event", {"type": "from.the.future", "field": 1}]
    done = [0, "event", {"type": "response.done", "response": {"id": "gone", "status": "completed", "output": []}}]
    result = await converse(blank, *stray, unknown, done)
    assert (result["sent"], result["signals"]) == ([], [])


async def test_old_replies_are_forgotten(blank: Page) -> None:
    result = await converse(blank, *[[0, "event", created(number)] for number in range(1, 100)])
    assert [reply["number"] for reply in result["replies"]] == list(range(84, 100))


async def test_the_gateway_hears_once_a_second_that_the_person_is_writing(blank: Page) -> None:
    said = await converse(blank, *([at, "typing"] for at in (0, 10, 990, 1000, 1500, 2500)))
    assert said["sent"] == [{"type": "typing"}] * 3


async def test_a_turn_that_goes_on_leaves_nothing_of_its_answer_in_the_captions(blank: Page) -> None:
    said = await blank.evaluate(
        CONVERSE.replace("return {", "return { lines: conversation.captions.lines.map((line) => line.id),"),
        [
            [0, "event", {"type": "input_audio_buffer.committed", "item_id": "turn"}],
            [0, "event", {"type": TRANSCRIBED, "item_id": "turn", "transcript": "What is"}],
            [0, "event", created(1)],
            [0, "event", {"type": DELTA, "response_id": "r1", "item_id": "answer", "delta": "Well,"}],
            [9, "progress", progress(1, 900)],
            [9, "event", {"type": "conversation.item.deleted", "item_id": "answer"}],
            [9, "event", {"type": "conversation.item.deleted", "item_id": "turn"}],
        ],
    )
    assert said["lines"] == []


TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
DELTA = "response.output_audio_transcript.delta"
