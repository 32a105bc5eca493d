"""Numbers as people read them aloud, English and Chinese."""

from __future__ import annotations

import pytest

from model_server.minicpmo.words.number_reading import read_numbers
from model_server.minicpmo.words.numbers_in_words import (
    SpokenLanguage,
    cardinal,
    decade,
    number,
    ordinal,
    read_digits,
    year,
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "零"),
        (2, "二"),
        (10, "十"),
        (15, "十五"),
        (20, "二十"),
        (105, "一百零五"),
        (110, "一百一十"),
        (200, "二百"),
        (1005, "一千零五"),
        (1050, "一千零五十"),
        (2024, "两千零二十四"),
        (10000, "一万"),
        (10010, "一万零一十"),
        (20000, "两万"),
        (100000, "十万"),
        (123456, "十二万三千四百五十六"),
        (1000001, "一百万零一"),
        (100000000, "一亿"),
        (100020000, "一亿零二万"),
        (200000000000, "两千亿"),
        (2000000000000, "两万亿"),
        (2000100000000, "两万零一亿"),
        (-7, "负七"),
    ],
)
def test_chinese_cardinals(value: int, words: str) -> None:
    assert cardinal(value, "chinese") == words


def test_english_words_have_neither_commas_nor_hyphens() -> None:
    assert (
        cardinal(1_234_567, "english")
        == "one million two hundred and thirty four thousand five hundred and sixty seven"
    )
    assert ordinal(22) == "twenty second"
    assert year(1998) == "nineteen ninety eight"
    assert year(2005) == "two thousand and five"
    assert decade(1990) == "nineteen nineties"
    assert decade(2000) == "two thousands"


def test_a_number_too_long_to_say_is_read_digit_by_digit() -> None:
    assert number("1" * 16, "english") == " ".join(["one"] * 16)
    assert number("1" * 16, "chinese") == "一" * 16


@pytest.mark.parametrize(
    ("text", "english", "chinese"),
    [
        ("0.50", "zero point five zero", "零点五零"),
        ("007", "zero zero seven", "零零七"),
        ("1,000.5", "one thousand point five", "一千点五"),
    ],
)
def test_decimals_are_read_one_by_one(text: str, english: str, chinese: str) -> None:
    assert (number(text, "english"), number(text, "chinese")) == (english, chinese)


@pytest.mark.parametrize(
    ("text", "language", "read"),
    [
        ("11 and 1", "english", "one one and one"),
        ("11 and 1", "chinese", "一一 and 一"),
        ("１２ a", "english", " a"),
        ("a²3", "chinese", "a²三"),
    ],
)
def test_published_reading_is_digit_by_digit(text: str, language: SpokenLanguage, read: str) -> None:
    assert read_digits(text, language) == read


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("23 books", "twenty three books"),
        ("in 1998", "in nineteen ninety eight"),
        ("in 2024.", "in twenty twenty four."),
        ("the 1990s and 80s", "the nineteen nineties and eighties"),
        ("2024-01-15", "January fifteenth, twenty twenty four"),
        ("14:30", "fourteen thirty"),
        ("14:00", "fourteen o'clock"),
        ("2:05 pm", "two oh five p m"),
        ("9 a.m.", "nine a m"),
        ("1:00:05", "one oh oh oh five"),
        ("at 12:00 AM.", "at twelve a m."),
        ("05/12/1998", "May twelfth, nineteen ninety eight"),
        ("25/12/2024", "December twenty fifth, twenty twenty four"),
        ("$20/month", "twenty dollars per month"),
        ("CO₂", "CO two"),
        ("5 m²", "five m squared"),
        ("=", "equals"),
        ("16:9", "sixteen to nine"),
        ("$3.50", "three dollars and fifty cents"),
        ("$1", "one dollar"),
        ("$0.01", "one cent"),
        ("-$5", "minus five dollars"),
        ("US$20", "twenty dollars"),
        ("20 €", "twenty euros"),
        ("¥12", "twelve yen"),
        ("£1,250", "one thousand two hundred and fifty pounds"),
        ("$3.5 million", "three point five million dollars"),
        ("50%", "fifty percent"),
        ("5-10%", "five to ten percent"),
        ("-5", "minus five"),
        ("20°C", "twenty degrees Celsius"),
        ("the 22nd", "the twenty second"),
        ("1/2", "one half"),
        ("3/4", "three quarters"),
        ("24/7", "twenty four slash seven"),
        ("1,234,567", "one million two hundred and thirty four thousand five hundred and sixty seven"),
        ("1000000", "one million"),
        ("13812345678", "one three eight one two three four five six seven eight"),
        ("555-123-4567", "five five five, one two three, four five six seven"),
        ("(555) 123-4567", "five five five, one two three, four five six seven"),
        ("+1 555 0100", "plus one, five five five, zero one zero zero"),
        ("2019-2024", "twenty nineteen to twenty twenty four"),
        ("version 1.2.3", "version one point two point three"),
        ("GPT4 and B2B", "GPT four and B two B"),
        ("#5", "number five"),
        ("3×4=12", "three times four equals twelve"),
        ("１２", "twelve"),
    ],
)
def test_kinds_of_numbers_in_english(text: str, words: str) -> None:
    assert read_numbers(text, "english") == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2个", "两个"),
        ("12个", "十二个"),
        ("2024年", "二零二四年"),
        ("10年", "十年"),
        ("1998-2002年", "一九九八到二零零二年"),
        ("2月2日", "二月二日"),
        ("2024-01-15", "二零二四年一月十五日"),
        ("14:30", "十四点三十分"),
        ("2:05", "两点零五分"),
        ("2:05 pm", "下午两点零五分"),
        ("¥12", "十二元"),
        ("¥12.5万", "十二点五万元"),
        ("$3.50", "三点五零美元"),
        ("20 €", "二十欧元"),
        ("20%", "百分之二十"),
        ("5-10%", "百分之五到十"),
        ("-5", "负五"),
        ("-5°C", "零下五摄氏度"),
        ("3/4", "四分之三"),
        ("3:2", "三比二"),
        ("3.14", "三点一四"),
        ("1,234", "一千二百三十四"),
        ("138 1234 5678", "一三八，一二三四，五六七八"),
    ],
)
def test_kinds_of_numbers_in_chinese(text: str, words: str) -> None:
    assert read_numbers(text, "chinese") == words


def test_what_stands_before_a_number_counts() -> None:
    assert read_numbers("2个", "chinese", "第") == "二个"
    assert read_numbers("2:05 pm", "chinese", "午") == "两点零五分"
