"""Single numbers in words, English and Chinese. English words come from num2words, which knows no Chinese."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from num2words import num2words

SpokenLanguage = Literal["chinese", "english"]

CHINESE_DIGITS = "零一二三四五六七八九"
ENGLISH_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

MOST_DIGITS = 15
"""A longer number is read digit by digit."""

_PLACES = ("", "十", "百", "千")
_MYRIADS = ("", "万", "亿", "万亿")


def read_digits(text: str, language: SpokenLanguage) -> str:
    """Every run of decimal digits read digit by digit, as published; digits outside ASCII vanish (section 7.3)."""
    return re.sub(r"\d+", lambda run: digits(run.group(), language), text)


def digits(run: str, language: SpokenLanguage) -> str:
    """Digits one by one; characters that are no ASCII digit are left out."""
    values = [int(char) for char in run if char in "0123456789"]
    if language == "chinese":
        return "".join(CHINESE_DIGITS[value] for value in values)
    return " ".join(ENGLISH_DIGITS[value] for value in values)


def with_ascii_digits(text: str) -> str:
    """The text with the digits of other scripts (full-width, Arabic) written 0 to 9."""
    return re.sub(r"\d", lambda digit: str(unicodedata.decimal(digit.group())), text)


def cardinal(value: int, language: SpokenLanguage) -> str:
    """42: forty two, 四十二. Below zero with minus, 负."""
    if len(str(abs(value))) > MOST_DIGITS:
        return digits(str(value), language)
    if language == "english":
        return _plain(num2words(value))
    return "负" + _chinese(-value) if value < 0 else _chinese(value)


def ordinal(value: int) -> str:
    """22: twenty second."""
    return _plain(num2words(value, to="ordinal"))


def year(value: int) -> str:
    """1998: nineteen ninety eight."""
    return _plain(num2words(value, to="year"))


def decade(value: int) -> str:
    """1990: nineteen nineties; 80: eighties."""
    words = year(value) if value >= 1000 else cardinal(value, "english")
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def number(text: str, language: SpokenLanguage) -> str:
    """A number as it is written: 1,234.5, 007, 3.14. Its decimals, and an integer part of leading zeros, one by one."""
    whole, point, decimals = text.replace(",", "").partition(".")
    leading_zeros = len(whole) > 1 and whole.startswith("0")
    words = digits(whole, language) if leading_zeros else cardinal(int(whole or "0"), language)
    if not point:
        return words
    join = " point " if language == "english" else "点"
    return f"{words}{join}{digits(decimals, language)}"


def _plain(words: str) -> str:
    """Without the commas, which would be pauses, and without hyphens."""
    return words.replace(",", "").replace("-", " ")


def _chinese(value: int) -> str:
    if value == 0:
        return CHINESE_DIGITS[0]
    groups: list[int] = []
    rest = value
    while rest:
        rest, group = divmod(rest, 10_000)
        groups.append(group)
    words = ""
    for place in reversed(range(len(groups))):
        group = groups[place]
        if group:
            gap = words and (group < 1000 or groups[place + 1] == 0)
            said = "两" if group == 2 and place and not words else _group(group, bool(words))
            words += ("零" if gap else "") + said + _myriad(place, groups)
    return words


def _myriad(place: int, groups: list[int]) -> str:
    """万 or 亿 behind a group; of 万亿 only 万 where the group of 亿 follows and says it."""
    return "万" if place == 3 and groups[2] else _MYRIADS[place]


def _group(value: int, inner: bool) -> str:
    """One to four digits; 2 as 两 before 千, 1 left out of 十 at the beginning of a number."""
    words, gap = "", False
    for place in reversed(range(4)):
        digit = value // 10**place % 10
        if digit == 0:
            gap = bool(words)
            continue
        said = "两" if digit == 2 and place == 3 else CHINESE_DIGITS[digit]
        if place == 1 and digit == 1 and not words and not inner:
            said = ""
        words += ("零" if gap else "") + said + _PLACES[place]
        gap = False
    return words
