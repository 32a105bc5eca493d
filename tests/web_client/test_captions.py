"""Captions: words show when they are heard and are cut where they were cut."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

RUN = """async (calls) => {
  const { Captions } = await import("/captions.js");
  const captions = new Captions();
  for (const [method, ...values] of calls) captions[method](...values);
  return captions.lines.map(({ who, text, shown, cut, live }) => ({ who, text: text.slice(0, shown), cut, live }));
}"""

TEXT = "Well, the sea was calm."
WORDS = [[0, 4, 0, 300], [6, 9, 400, 500], [10, 13, 500, 800], [14, 17, 800, 900], [18, 22, 900, 1400]]
REPLY: list[list[Any]] = [["delta", "r", "i", TEXT, False], ["times", "r", WORDS]]


async def lines(page: Page, *calls: list[Any]) -> list[dict[str, Any]]:
    return list(await page.evaluate(RUN, list(calls)))


async def texts(page: Page, *calls: list[Any]) -> list[str]:
    return [line["text"] for line in await lines(page, *calls)]


@pytest.mark.parametrize(
    ("ms", "shown"),
    [(0, "Well,"), (399, "Well,"), (400, "Well, the"), (850, "Well, the sea was"), (5000, TEXT)],
)
async def test_words_show_when_they_begin_to_sound(blank: Page, ms: int, shown: str) -> None:
    assert await texts(blank, *REPLY, ["heard", "r", ms]) == [shown]


async def test_nothing_shows_before_it_is_heard(blank: Page) -> None:
    assert await texts(blank, *REPLY) == []


async def test_without_times_words_follow_the_usual_pace(blank: Page) -> None:
    spoken: list[list[Any]] = [["delta", "r", "i", "one two three four five six seven", False], ["heard", "r", 600]]
    assert await texts(blank, *spoken) == ["one two three"]


async def test_the_pace_is_learnt_from_what_was_spoken(blank: Page) -> None:
    slow: list[list[Any]] = [["delta", "a", "1", "slowly spoken", False], ["heard", "a", 4000], ["finished", "a"]]
    second: list[list[Any]] = [["delta", "b", "2", "one two three four five", False], ["heard", "b", 600]]
    assert (await texts(blank, *slow, *second))[1] == "one two"


async def test_what_was_shown_never_goes_back(blank: Page) -> None:
    assert await texts(blank, *REPLY, ["heard", "r", 900], ["heard", "r", 100]) == [TEXT]


async def test_a_finished_reply_shows_whole(blank: Page) -> None:
    (line,) = await lines(blank, *REPLY, ["heard", "r", 10], ["finished", "r"])
    assert line == {"who": "assistant", "text": TEXT, "cut": False, "live": False}


async def test_a_cut_reply_stops_at_once_and_takes_the_kept_words(blank: Page) -> None:
    cut: list[list[Any]] = [*REPLY, ["heard", "r", 450], ["cut", "r"]]
    after: list[list[Any]] = [["heard", "r", 2000], ["delta", "r", "i", " And then", False], ["finished", "r"]]
    assert await lines(blank, *cut, *after) == [{"who": "assistant", "text": "Well, the", "cut": True, "live": False}]
    kept = await lines(blank, *cut, ["truncated", "i", "Well, the sea "], *after)
    assert kept == [{"who": "assistant", "text": "Well, the sea", "cut": True, "live": False}]


async def test_a_reply_cut_before_its_first_word_leaves_no_line(blank: Page) -> None:
    assert await lines(blank, *REPLY, ["cut", "r"], ["truncated", "i", ""]) == []


async def test_the_persons_words_stand_where_they_were_said(blank: Page) -> None:
    late: list[list[Any]] = [["turn", "you1"], *REPLY, ["heard", "r", 2000], ["said", "you1", " what is that "]]
    assert [(line["who"], line["text"]) for line in await lines(blank, *late)] == [
        ("you", "what is that"),
        ("assistant", TEXT),
    ]


async def test_a_written_reply_shows_at_once(blank: Page) -> None:
    assert await texts(blank, ["delta", "r", "i", "Written ", True], ["delta", "r", "i", "down", True]) == [
        "Written down"
    ]


async def test_word_places_count_characters_as_the_gateway_does(blank: Page) -> None:
    emoji: list[list[Any]] = [
        ["delta", "r", "i", "😀😀 red sky", False],
        ["times", "r", [[3, 6, 0, 100], [7, 10, 500, 900]]],
    ]
    assert await texts(blank, *emoji, ["heard", "r", 200]) == ["😀😀 red"]


async def test_old_lines_are_forgotten(blank: Page) -> None:
    many: list[list[Any]] = [["said", f"i{n}", f"sentence {n}"] for n in range(500)]
    shown = await texts(blank, *many)
    assert (len(shown), shown[-1]) == (80, "sentence 499")


async def test_a_turn_that_goes_on_takes_its_answer_with_it_and_comes_back_as_one(blank: Page) -> None:
    taken: list[list[Any]] = [["said", "turn", "What is"], *REPLY, ["heard", "r", 300], ["cut", "r"]]
    back: list[list[Any]] = [["removed", "i"], ["removed", "turn"], ["removed", "never"]]
    assert await lines(blank, *taken, *back) == []
    assert await texts(blank, *taken, *back, ["turn", "turn"], ["said", "turn", "What is the time?"]) == [
        "What is the time?"
    ]
