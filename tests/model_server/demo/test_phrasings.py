from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.demo.phrasings import PhrasingError, Sentence, expand

SLOTS = {"number": ("one", "twenty one"), "room": ("hall",)}


@pytest.mark.parametrize(
    ("phrasing", "texts"),
    [
        ("what time is it", ["what time is it"]),
        ("what time is it [now]", ["what time is it", "what time is it now"]),
        ("(what|which) colour", ["what colour", "which colour"]),
        ("[please] tell (me|us) (a|the) joke", 8),
        ("count to {number}", ["count to one", "count to twenty one"]),
        ("is it [very (hot|cold)] in the {room}", 3),
        ("don't  stop", ["don't stop"]),
    ],
)
def test_expands(phrasing: str, texts: list[str] | int) -> None:
    got = [sentence.text for sentence in expand(phrasing, SLOTS)]
    assert len(got) == texts if isinstance(texts, int) else got == texts
    assert len(set(got)) == len(got)


def test_values_of_slots_are_kept() -> None:
    assert expand("count to {number} in the {room}", SLOTS)[1] == Sentence(
        "count to twenty one in the hall", (("number", "twenty one"), ("room", "hall"))
    )


@pytest.mark.parametrize(
    ("phrasing", "problem"),
    [
        ("count to {nothing}", r"unknown slot \{nothing\}; known are number, room"),
        ("what [time", r"expected '\]', got the end"),
        ("(what|which time", r"expected '\)', got the end"),
        ("what) time", r"expected the end of the phrasing, got '\)'"),
        ("What time", "expected a lower-case word.*got 'W'"),
        ("what time?", r"expected a lower-case word.*got '\?'"),
        ("[please]", "may be left out as a whole"),
        ("", "may be left out as a whole"),
        ("a (b|c|d|e|f|g|h|i) " * 4, "more than 400 sentences"),
    ],
)
def test_says_what_is_wrong(phrasing: str, problem: str) -> None:
    with pytest.raises(PhrasingError, match=problem):
        expand(phrasing, SLOTS)


@given(st.text(alphabet="ab []()|{}number", max_size=24))
def test_any_text_expands_or_is_refused(phrasing: str) -> None:
    try:
        sentences = expand(phrasing, SLOTS)
    except PhrasingError:
        return
    assert sentences
    assert all(sentence.text == " ".join(sentence.text.split()) != "" for sentence in sentences)
