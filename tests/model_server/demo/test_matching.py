from __future__ import annotations

import pytest

from model_server.demo.matching import Matcher, normal
from tests.model_server.demo.samples import assistant


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(assistant())


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("What time is it?", "time"),
        ("what's the time", "time"),
        ("WHAT COLOR DO YOU SEE???", "colour"),
        ("Whcih colour do you see", "colour"),
        ("tell me a storry", "story"),
        ("Hey Ada, could you tell me a story, please?", "story"),
        ("Count to 7", "count"),
        ("count backwards from 10", "countdown"),
        ("What’s your favorite color?", "favourite"),
        ("What did you say before I interrupted you?", "interrupted"),
        ("Thank you!", "thanks"),
    ],
)
def test_typed_text_is_understood(matcher: Matcher, text: str, intent: str) -> None:
    meaning = matcher.meaning(text)
    assert meaning is not None
    assert meaning.intent.name == intent


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?!",
        "xqzw",
        "the cat sat on the mat",
        "i need a new bicycle for my sister",
        "time",
        "you",
        "a " * 4_000,
        "7" * 5_000,
    ],
)
def test_nonsense_is_not(matcher: Matcher, text: str) -> None:
    assert matcher.meaning(text) is None


def test_numbers_reach_the_slot(matcher: Matcher) -> None:
    meaning = matcher.meaning("please count to 13!")
    assert meaning is not None
    assert meaning.sentence.values == (("number", "thirteen"),)


def test_an_open_slot_takes_any_typed_text(matcher: Matcher) -> None:
    meaning = matcher.meaning("Repeat after me: My dog is called Rex, and he is 5!")
    assert meaning is not None
    assert meaning.intent.name == "repeat_after_me"
    assert meaning.sentence.values == (("sentence", "My dog is called Rex, and he is 5!"),)
    assert matcher.meaning("repeat after me") is None


def test_the_nearest_are_of_two_intents(matcher: Matcher) -> None:
    first, second = matcher.nearest("what colours can you see there")
    known = assistant().meanings
    assert known[first].intent.name == "colour"
    assert known[second].intent.name != "colour"


def test_without_any_likeness_the_nearest_are_suggestions(matcher: Matcher) -> None:
    first, second = matcher.nearest("zzz")
    assert first != second
    assert matcher.meaning(first) is not None
    assert matcher.meaning(second) is not None


def test_one_way_to_write_a_text() -> None:
    assert normal("  What's   the COLOR of 21, ok? ") == "what is the colour of twenty one okay"


def test_every_sentence_of_the_script_means_itself(matcher: Matcher) -> None:
    for text, meaning in assistant().meanings.items():
        found = matcher.meaning(text)
        assert found is not None
        assert found.intent is meaning.intent
