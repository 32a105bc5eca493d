"""Dates and times in words, from matches of `number_patterns.KINDS`."""

from __future__ import annotations

import re

from model_server.minicpmo.words.numbers_in_words import SpokenLanguage, cardinal, digits, number, ordinal, year

Match = re.Match[str]

_MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


def date(found: Match, language: SpokenLanguage) -> str:
    """2024-01-15."""
    return _day(int(found["y"]), int(found["m"]), int(found["d"]), language)


def slashed(found: Match, language: SpokenLanguage) -> str:
    """05/12/2024: month first, unless that is no month."""
    month, day = int(found["first"]), int(found["second"])
    if month > 12 >= day:
        month, day = day, month
    if month > 12:
        return " ".join(number(part, language) for part in found[0].split("/"))
    return _day(int(found["y3"]), month, day, language)


def _day(y: int, m: int, d: int, language: SpokenLanguage) -> str:
    if language == "chinese":
        return f"{digits(str(y), language)}年{cardinal(m, language)}月{cardinal(d, language)}日"
    return f"{_MONTHS[m - 1]} {ordinal(d)}, {year(y)}"


def time(found: Match, language: SpokenLanguage) -> str:
    """14:30, 2:05 pm, 1:02:03."""
    at, minute, second, half = int(found["h"]), int(found["min"]), found["s"], _half(found["half"])
    if language == "chinese":
        said = _chinese_half(half, at) + _chinese_hour(at) + (_chinese_minutes(minute) if minute or second else "")
        return said + (cardinal(int(second), language) + "秒" if second else "")
    words = [cardinal(at, language)]
    if minute or second:
        words.append(_minutes(minute))
    elif not half:
        words.append("o'clock" if at else "hundred")
    if second:
        words.append(_minutes(int(second)))
    return " ".join([*words, *half])


def hour(found: Match, language: SpokenLanguage) -> str:
    """2 pm."""
    at, half = int(found["h2"]), _half(found["half2"])
    if language == "chinese":
        return _chinese_half(half, at) + _chinese_hour(at)
    return " ".join([cardinal(at, language), *half])


def _half(text: str | None) -> list[str]:
    """Half of the day as two letters."""
    return [char for char in (text or "").lower() if char in "apm"]


def _minutes(value: int) -> str:
    if value == 0:
        return "oh oh"
    return cardinal(value, "english") if value >= 10 else f"oh {cardinal(value, 'english')}"


def _chinese_half(half: list[str], hour: int) -> str:
    if not half:
        return ""
    if half[0] == "a":
        return "上午" if hour < 12 else "凌晨"
    return "下午" if hour < 6 or hour == 12 else "晚上"


def _chinese_hour(hour: int) -> str:
    return ("两" if hour == 2 else cardinal(hour, "chinese")) + "点"


def _chinese_minutes(minute: int) -> str:
    return ("零" if minute < 10 else "") + cardinal(minute, "chinese").removeprefix("零") + "分"
