"""What of a text is not for the ear: markdown, addresses, emoji.

A link is its text, an address its host name (`example dot com`): the rest is on the screen.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from model_server.minicpmo.words.numbers_in_words import SpokenLanguage
from model_server.minicpmo.words.text_units import Unit, is_wide

DOT, AT = "\ue000", "\ue001"
"""Private characters that stand for what is said of an address until the language is known."""

_SAID = {"english": {DOT: " dot ", AT: " at "}, "chinese": {DOT: "点", AT: "艾特"}}

_LINE_MARKERS = re.compile(r"#{1,6}|[-*+•◦▪·>]|```\S*|~~~\S*")
"""At the beginning of a line: headings, bullets, quotations, fences."""

_RULE = re.compile(r"[-_=*|:~]{3,}|\|[-:|]+")
_LIST_NUMBER = re.compile(r"^(\W*\d{1,3})[.)](?: (?=\S)|(?=[一-鿿]))")

_ADDRESS = re.compile(r"(?:https?://|ftp://|\bwww\.)(?P<rest>[^\s<>\"]*)", re.IGNORECASE)
_MAIL = re.compile(r"\b([\w.+-]+)@([\w-]+(?:\.[\w-]+)+)\b")
_DOMAIN = re.compile(
    r"\b((?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|io|ai|app|dev|cn|de|uk|eu|fr|jp))\b(?:/[^\s<>\"]*)?", re.IGNORECASE
)
_HOST = re.compile(r"(?:www\.)?([\w-]+(?:\.[\w-]+)*)", re.IGNORECASE)
_TARGET = re.compile(r"\]\([^)\s]*(?P<end>\)|$)")
_CLOSING = ".,;:!?)'\"*_`"

_TIMES = re.compile(r"(?<=\d) ?\*(?=\d)|(?<=\d) \*$")
_TAG = re.compile(r"</?[a-z][a-z0-9]*\s*/?>", re.IGNORECASE)
_FOOTNOTE = re.compile(r"\[\^?\d+\]")
_UNDERSCORES = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_MARKS = re.compile(r"!?\[|\]|\*+|~~+|`+|[<>](?=\S)|(?<=\S)>")

_KEPT_SYMBOLS = "°℃℉№"
_DROPPED = "\ufe0e\ufe0f\u20e3"
_SKIN = ("\U0001f3fb", "\U0001f3ff")


class Markup:
    """Takes the markup out of unit after unit; remembers the beginning of a line and an address that goes on."""

    def __init__(self) -> None:
        self._line_start = True
        self._skipping: Literal["", "address", "target"] = ""

    def strip(self, unit: Unit) -> str:
        """What is left to say of a unit; a table's rule between cells is a comma."""
        text = unit.text
        if text.isspace():
            self._line_start = self._line_start or text in "\n\r"
            self._skipping = ""
            return ""
        if self._skipping:
            text = self._behind(unit)
        line_start, self._line_start = self._line_start, False
        if line_start and _LINE_MARKERS.fullmatch(text):
            self._line_start = True  # A number may follow a bullet, a bullet a quotation's mark.
            return ""
        if _RULE.fullmatch(text):
            return ""
        if line_start:
            text = _LIST_NUMBER.sub(r"\1, ", text)
        return without_emoji(self._without_marks(Unit(text, unit.cut)))

    def _behind(self, unit: Unit) -> str:
        """Of a word that began as an address, what stands behind the address."""
        if is_wide(unit.text[0]):
            self._skipping = ""
            return unit.text
        word, space, rest = unit.text.partition(" ")
        if self._skipping == "target" and ")" in unit.text:
            self._skipping = ""
            return unit.text.partition(")")[2]
        if unit.cut and not space:
            return ""
        closing = word[len(word.rstrip(_CLOSING)) :] if self._skipping == "address" else ""
        self._skipping = ""
        return closing + space + rest

    def _without_marks(self, unit: Unit) -> str:
        text = _TAG.sub(" ", re.sub(r" ?\|", ",", unit.text))
        target = _TARGET.search(text)
        if target and not target["end"] and unit.cut:
            self._skipping = "target"
        text = _FOOTNOTE.sub("", _TARGET.sub("", text))
        address = _ADDRESS.search(text)
        if address and address.end() == len(text) and unit.cut:
            self._skipping = "address"
        text = _MAIL.sub(lambda m: f"{_dotted(m[1])}{AT}{_dotted(m[2])}", _ADDRESS.sub(_host, text))
        text = _DOMAIN.sub(lambda m: _dotted(m[1].removeprefix("www.")), text)
        text = _MARKS.sub("", _TIMES.sub("×", text))
        return _UNDERSCORES.sub("", text).replace("_", " ")


def _dotted(name: str) -> str:
    return name.replace(".", DOT)


def _host(address: re.Match[str]) -> str:
    """The host name, and the punctuation behind the address."""
    rest = address["rest"]
    closing = rest[len(rest.rstrip(_CLOSING)) :]
    host = _HOST.match(rest)
    return (_dotted(host[1]) if host else "") + closing


def addresses_in_words(text: str, language: SpokenLanguage) -> str:
    """Dots and at-signs of addresses as they are said."""
    for sign, said in _SAID[language].items():
        text = text.replace(sign, said)
    return text


def without_emoji(text: str) -> str:
    """Without pictures, their joiners and colours."""
    return "".join(char for char in text if not _pictorial(char))


def _pictorial(char: str) -> bool:
    if char in _KEPT_SYMBOLS:
        return False
    return unicodedata.category(char) in ("So", "Cf", "Cs") or char in _DROPPED or _SKIN[0] <= char <= _SKIN[1]
