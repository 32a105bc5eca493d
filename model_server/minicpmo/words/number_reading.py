"""Finds the numbers in a piece of text and says what kind they are: time, price, year, phone number and so on."""

from __future__ import annotations

import re
from collections.abc import Callable

from model_server.minicpmo.words import clock_reading
from model_server.minicpmo.words.number_patterns import KINDS
from model_server.minicpmo.words.numbers_in_words import (
    SpokenLanguage,
    cardinal,
    decade,
    digits,
    number,
    ordinal,
    with_ascii_digits,
    year,
)

Match = re.Match[str]

_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents", "美元"),
    "€": ("euro", "euros", "cent", "cents", "欧元"),
    "£": ("pound", "pounds", "penny", "pence", "英镑"),
    "¥": ("yen", "yen", "", "", "元"),
    "￥": ("yuan", "yuan", "", "", "元"),
    "₩": ("won", "won", "", "", "韩元"),
    "₹": ("rupee", "rupees", "paisa", "paise", "卢比"),
}
"""One, several, one and several hundredths, Chinese."""

_SCALES = {"k": ("thousand", "千"), "m": ("million", "百万"), "b": ("billion", "十亿")}
_WORD_SCALES = {"thousand": "千", "million": "百万", "billion": "十亿", "trillion": "万亿"}

_OPERATORS = {"×": ("times", "乘"), "÷": ("divided by", "除以"), "=": ("equals", "等于"), "+": ("plus", "加")}

_SIGNS = {
    "=": ("equals", "等于"),
    "+": ("plus", "加"),
    "<": ("less than", "小于"),
    ">": ("greater than", "大于"),
    "≈": ("about", "约等于"),
    "&": ("and", "和"),
}
"""Where they stand alone."""

_POWERS = {"²": (" squared", "平方"), "³": (" cubed", "立方")}

_SMALL = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")

_YEARS = range(1100, 2100)
"""Four digits that are read as a year in English."""

_COUNTED = (
    "个只条本天年小分秒点位次种家台辆张块元千万亿米岁倍部件名人周杯瓶碗双对场座间颗头匹"
    "份句篇首段层把片套项步遍回斤吨克公"
)
"""Behind these 2 is 两."""

_UNCOUNTED = "第星周零一二三四五六七八九十"
"""Not so behind these."""


def read_numbers(text: str, language: SpokenLanguage, before: str = "") -> str:
    """The text with its numbers in words. `before` is the character in front of it, "" at the beginning."""
    text = with_ascii_digits(text).translate(_SMALL)
    if text in _SIGNS:
        return _SIGNS[text][language == "chinese"]

    def words(found: Match) -> str:
        said = _HANDLERS[str(found.lastgroup)](found, language)
        if language == "chinese":
            said = _fitting(said, found, text[: found.start()][-1:] or before)
        return _apart(said, text, found)

    said = KINDS.sub(words, text)
    for sign, power in _POWERS.items():
        said = said.replace(sign, power[language == "chinese"])
    return re.sub(" {2,}", " ", said)


def _apart(said: str, text: str, found: Match) -> str:
    """English words stand apart from the letters beside them."""
    if said.isascii():
        said = f"{' ' * text[: found.start()][-1:].isalnum()}{said}{' ' * text[found.end() :][:1].isalnum()}"
    return said


def _fitting(said: str, found: Match, before: str) -> str:
    """两 where two of something are counted; the half of the day only once."""
    behind = found.string[found.end() :][:1]
    if said == "二" and found.lastgroup == "plain" and behind and behind in _COUNTED:
        return said if before and before in _UNCOUNTED else "两"
    return re.sub("^(?:上午|下午|晚上|凌晨)", "", said) if before and before in "午晚早上" else said


def _minus(sign: str | None, language: SpokenLanguage) -> str:
    if not sign:
        return ""
    if sign == "+":
        return "plus " if language == "english" else "正"
    return "minus " if language == "english" else "负"


def _phone(found: Match, language: SpokenLanguage) -> str:
    plus = {"english": "plus ", "chinese": "加"}[language] if found[0].startswith("+") else ""
    pause = ", " if language == "english" else "，"
    return plus + pause.join(digits(run, language) for run in re.findall(r"\d+", found[0]))


def _price(found: Match, language: SpokenLanguage) -> str:
    return _minus(found["neg"], language) + _money(found["amount"], found["sign"], found["scale"], language)


def _price_behind(found: Match, language: SpokenLanguage) -> str:
    return _minus(found["neg2"], language) + _money(found["amount2"], found["sign2"], None, language)


def _money(amount: str, sign: str, scale: str | None, language: SpokenLanguage) -> str:
    one, many, cent, cents, chinese = _CURRENCIES[sign]
    whole, _, hundredths = amount.replace(",", "").partition(".")
    if language == "chinese":
        exact = amount if hundredths.strip("0") else whole
        return number(exact, language) + _scale(scale, language) + chinese
    if scale or not cent or len(hundredths) != 2:
        return f"{number(amount, language)}{_scale(scale, language)} {one if amount == '1' and not scale else many}"
    words = [f"{cardinal(int(whole), language)} {one if int(whole) == 1 else many}"] if int(whole) else []
    if int(hundredths):
        words.append(f"{cardinal(int(hundredths), language)} {cent if int(hundredths) == 1 else cents}")
    return " and ".join(words) or f"zero {many}"


def _scale(scale: str | None, language: SpokenLanguage) -> str:
    if not scale:
        return ""
    name = scale.strip().lower()
    if name in _SCALES:
        return f" {_SCALES[name][0]}" if language == "english" else _SCALES[name][1]
    return f" {name}" if language == "english" else _WORD_SCALES.get(name, name)


def _version(found: Match, language: SpokenLanguage) -> str:
    point = " point " if language == "english" else "点"
    return point.join(number(part, language) for part in found[0].split("."))


def _fraction(found: Match, language: SpokenLanguage) -> str:
    above, below = int(found["above"]), int(found["below"])
    if language == "chinese":
        return f"{cardinal(below, language)}分之{cardinal(above, language)}"
    if not 0 < above < below or below > 10:
        return f"{cardinal(above, language)} slash {cardinal(below, language)}"
    part = {2: "half", 4: "quarter"}.get(below, ordinal(below))
    return f"{cardinal(above, language)} {part}{'s' if above > 1 else ''}"


def _range(found: Match, language: SpokenLanguage) -> str:
    unit = _unit((found["unit"] or "").replace(" ", ""), language)
    if language == "chinese":
        years = found.string[found.end() :].startswith("年") and len(found["low"]) == len(found["high"]) == 4
        read = digits if years else number
        return unit.format(f"{read(found['low'], language)}到{read(found['high'], language)}")
    return unit.format(f"{_bare(found['low'], language)} to {_bare(found['high'], language)}")


def _unit(sign: str, language: SpokenLanguage) -> str:
    if sign in ("%", "％"):
        return "{} percent" if language == "english" else "百分之{}"
    if not sign:
        return "{}"
    kind = "C" if sign == "℃" else "F" if sign == "℉" else sign.removeprefix("°")
    if language == "chinese":
        return {"C": "{}摄氏度", "F": "{}华氏度"}.get(kind, "{}度")
    return {"C": "{} degrees Celsius", "F": "{} degrees Fahrenheit"}.get(kind, "{} degrees")


def _ratio(found: Match, language: SpokenLanguage) -> str:
    to = " to " if language == "english" else "比"
    return f"{number(found['left'], language)}{to}{number(found['right'], language)}"


def _percent(found: Match, language: SpokenLanguage) -> str:
    share = number(found["share"], language)
    return _minus(found["neg3"], language) + _unit("%", language).format(share)


def _degrees(found: Match, language: SpokenLanguage) -> str:
    heat, sign = number(found["heat"], language), found["scale3"] or "°" + (found["scale2"] or "")
    if language == "chinese":
        words = _unit(sign, language)
        below = "零下" if found["neg4"] else ""
        return words.format(below + heat)
    return _minus(found["neg4"], language) + _unit(sign, language).format(heat)


def _ordinal(found: Match, language: SpokenLanguage) -> str:
    value = int(found["place"])
    return ordinal(value) if language == "english" else "第" + cardinal(value, language)


def _decade(found: Match, language: SpokenLanguage) -> str:
    value = int(found["tens"])
    if language == "english":
        return decade(value)
    return f"{cardinal(value % 100, language)}年代"


def _chinese_year(found: Match, language: SpokenLanguage) -> str:
    return digits(found["y2"], "chinese")


def _numbered(found: Match, language: SpokenLanguage) -> str:
    return "number " if language == "english" else "第"


def _operator(found: Match, language: SpokenLanguage) -> str:
    english, chinese = _OPERATORS[found["op"]]
    return f" {english} " if language == "english" else chinese


def _per(found: Match, language: SpokenLanguage) -> str:
    return " per " if language == "english" else "每"


def _plain(found: Match, language: SpokenLanguage) -> str:
    return _minus(found["neg5"], language) + _bare(found["value"], language)


def _bare(text: str, language: SpokenLanguage) -> str:
    """A year, a run like a phone number's, or a number."""
    if text.isdigit():
        if language == "english" and len(text) == 4 and int(text) in _YEARS:
            return year(int(text))
        if (len(text) >= 7 and not text.endswith("000")) or (len(text) > 1 and text.startswith("0")):
            return digits(text, language)
    return number(text, language)


_HANDLERS: dict[str, Callable[[Match, SpokenLanguage], str]] = {
    "date": clock_reading.date,
    "slashed": clock_reading.slashed,
    "time": clock_reading.time,
    "hour": clock_reading.hour,
    "phone": _phone,
    "price": _price,
    "price_behind": _price_behind,
    "version": _version,
    "fraction": _fraction,
    "range": _range,
    "ratio": _ratio,
    "percent": _percent,
    "degrees": _degrees,
    "ordinal": _ordinal,
    "decade": _decade,
    "chinese_year": _chinese_year,
    "numbered": _numbered,
    "operator": _operator,
    "per": _per,
    "plain": _plain,
}
