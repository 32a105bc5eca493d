"""What is spoken of a reply's text: as published, and as people read aloud."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.minicpmo.errors import ModelError
from model_server.minicpmo.words.rounds import EmptyRound, RoundText, hold_back
from model_server.minicpmo.words.spoken_text import OfficialText, PlainText, detect_language, sentence_end, split_point
from model_server.minicpmo.words.text_units import MOST, Units
from model_server.minicpmo.words.tokens import TextTokenizer


@pytest.fixture(scope="session")
def tokenizer(tiny_folder) -> TextTokenizer:  # type: ignore[no-untyped-def]
    return TextTokenizer(tiny_folder)


def spoken(*rounds: str) -> str:
    preparer = PlainText()
    return "".join([preparer.add(text) for text in rounds]) + preparer.finish()


@pytest.mark.parametrize(
    ("text", "mark"),
    [("ab. c", "."), ("3.", ""), ("².", ""), ("a5.b.", ""), ("no end 4. but? yes", "?"), ("a! b?", "!"), ("3。", "。")],
)
def test_sentence_end_follows_the_published_order_of_marks(text: str, mark: str) -> None:
    assert sentence_end(text) == mark


@pytest.mark.parametrize(("text", "language"), [("你a", "chinese"), ("", "chinese"), ("ab你", "english")])
def test_a_tie_is_chinese(text: str, language: str) -> None:
    assert detect_language(text) == language


def test_published_text_leaves_the_first_round_alone() -> None:
    preparer = OfficialText()
    assert preparer.add("*2* a", first_round=True) == "*2* a"
    assert preparer.add("*2* a") == "two a"


def test_published_language_is_settled_by_two_rounds_of_the_segment() -> None:
    preparer = OfficialText()
    preparer.add("abcd", first_round=True)
    assert preparer.add("你好1") == "你好one"
    assert preparer.add("你好吗1") == "你好吗一"
    assert preparer.add("many english letters 1") == "many english letters 一"
    assert OfficialText("restart text").add("你1") == "你one"


def test_published_digits_split_over_rounds_are_read_apart() -> None:
    preparer = OfficialText()
    preparer.add("a", first_round=True)
    assert preparer.add("2") + preparer.add("3") == "twothree"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("**Bold**, *leaning* and `code`.", "Bold, leaning and code."),
        ("snake_case and _this_", "snake case and this"),
        ("# Title\ntext", "Title. text"),
        ("- one\n- two.\n* three", "one. two. three"),
        ("1. Mix.\n2. Bake.", "one, Mix. two, Bake."),
        ("1. 苹果", "一, 苹果"),
        ("```python\nprint\n```\nDone", "print. Done"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b, one, two,"),
        ("See [the page](https://example.com/a) now", "See the page now"),
        ("See https://www.example.com/a?b=1. Then", "See example dot com. Then"),
        ("见https://example.com/a，谢谢", "见example点com，谢谢"),
        ("Write to me@example.com or visit example.org", "Write to me at example dot com or visit example dot org"),
        ("Nice 😀👍🏽! ❤️", "Nice!"),
        ("as said[1] before", "as said before"),
        ("3 * 4 = 12", "three times four equals twelve"),
        ("> quoted\n\n---\n\nend", "quoted. end"),
    ],
)
def test_markup_links_and_emoji_are_not_spoken(text: str, words: str) -> None:
    assert spoken(text) == words


def test_the_first_round_is_prepared_too() -> None:
    assert PlainText().add("*2* apples ", first_round=True) == "two apples"


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        (("It is 2", ":0", "5 p", "m now"), "It is two oh five p m now"),
        (("It costs $", "3.", "50."), "It costs three dollars and fifty cents."),
        (("about 20", " €"), "about twenty euros"),
        (("1", ",23", "4"), "one thousand two hundred and thirty four"),
        (("在20", "24", "年"), "在二零二四年"),
        (("12", ".5", "%", "的增长"), "百分之十二点五的增长"),
        (("[te", "xt](ht", "tps://a.b/c", ") ok"), "text ok"),
        (("*", "*bo", "ld*", "*"), "bold"),
    ],
)
def test_nothing_is_torn_by_rounds(rounds: tuple[str, ...], words: str) -> None:
    assert spoken(*rounds) == words


PARTS = st.sampled_from(
    [
        *"0123456789 .,:-/*_#[]()|$€¥%\n!？，`>@é１😀年个第",
        *("2024", "14:30", "$3.50", "1,234", "pm", " word", "word ", "\n- ", "你好", "**"),
        *("https://a.bc/", "www.", "](", "x" * 30),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, max_size=40).map("".join), st.data())
def test_any_split_into_rounds_is_spoken_alike(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)))
    rounds = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert spoken(*rounds) == spoken(text) == spoken(*text)


@settings(max_examples=100, deadline=None)
@given(st.lists(PARTS, max_size=40).map("".join))
def test_units_are_the_whole_text_and_few_characters_wait(text: str) -> None:
    units = Units()
    ready = "".join([unit.text for unit in units.add(text)])
    assert len(text) - len(ready) <= MOST + 1
    assert ready + "".join([unit.text for unit in units.finish()]) == text


def test_a_word_is_spoken_as_soon_as_it_is_whole() -> None:
    preparer = PlainText()
    assert [preparer.add(text) for text in ("wor", "d ", "next ", "7 ", "days ")] == [
        "",
        "word",
        " next",
        "",
        " seven days",
    ]


def test_a_long_address_is_skipped_to_its_end() -> None:
    assert spoken("at https://example.com/" + "abcdef/" * 20 + "end, fine") == "at example dot com, fine"
    assert spoken("[here](https://example.com/" + "abcdef/" * 20 + "). Fine") == "here. Fine"


def test_numbers_beside_ideographs_are_chinese_in_any_text() -> None:
    assert spoken("I said 我有3个, and 3 apples") == "I said 我有三个, and three apples"
    assert spoken("42") == "forty two"
    preparer = PlainText(expected="chinese")
    assert preparer.add("42") + preparer.finish() == "四十二"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("one two. Three four, five six", "one two. Three four,"),
        ("no marks but some spaces in here", "no marks but some spaces in "),
        ("a comma, early and then a very long rest", "a comma, early and then a very long "),
        ("一二三四五六七八，九十", "一二三四五六七八，"),
        ("一二三四五六七八九十", "一二三四五六七八九十"),
        ("One sentence that ends here. and more", "One sentence that ends here."),
    ],
)
def test_where_a_text_without_an_end_is_cut(text: str, first: str) -> None:
    at = split_point(text)
    assert at is not None
    assert text[:at] == first


def test_nothing_is_cut_from_nothing() -> None:
    assert split_point("  ") is None


def test_broken_characters_wait_and_no_more(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("a的")
    assert len(ids) > 2, "the character is more than one token"
    assert hold_back(tokenizer, [], ids[:-1]) == (ids[:1], ids[1:-1])
    assert hold_back(tokenizer, ids[1:-1], ids[-1:]) == (ids[1:], [])


def test_published_rounds_lose_exclamation_marks_and_fail_on_nothing_else(tokenizer: TextTokenizer) -> None:
    bang = tokenizer.encode("!")
    assert bang == [0], "the rule is about id 0"
    published = RoundText(tokenizer, keep_exclamation_marks=False)
    assert published.add([*tokenizer.encode("ab"), *bang]) == "ab"
    with pytest.raises(IndexError):
        published.add(bang)
    with pytest.raises(EmptyRound):
        published.add([tokenizer.specials.im_start, *bang])
    assert issubclass(EmptyRound, ModelError)
    assert published.add([*bang, tokenizer.specials.im_end]) == ""


def test_mended_rounds_keep_exclamation_marks(tokenizer: TextTokenizer) -> None:
    mended = RoundText(tokenizer, keep_exclamation_marks=True, over=(tokenizer.specials.speech_end,))
    assert mended.add(tokenizer.encode("ab!")) == "ab!"
    assert mended.add(tokenizer.encode("!")) == "!"
    assert mended.add([*tokenizer.encode("c"), tokenizer.specials.speech_end]) == "c"
    assert mended.add([tokenizer.specials.im_end]) == ""
