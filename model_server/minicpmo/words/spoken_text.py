"""What is spoken of a reply's text, and where it may be cut (specification section 7.3).

`OfficialText` is the published preparation with its quirks; `PlainText` says what a person reading aloud would say:
numbers as words, nothing of markup, links and emoji.
"""

from __future__ import annotations

import re
from typing import Protocol

from model_server.minicpmo.words.markup import Markup, addresses_in_words
from model_server.minicpmo.words.number_reading import read_numbers
from model_server.minicpmo.words.numbers_in_words import SpokenLanguage, read_digits
from model_server.minicpmo.words.text_units import Unit, Units, is_ideograph

__all__ = [
    "OfficialText",
    "PlainText",
    "Preparer",
    "SpokenLanguage",
    "detect_language",
    "read_digits",
    "sentence_end",
    "split_point",
]

SENTENCE_MARKS = (".", "。", "!", "?", "！", "？")
"""In the order in which they are looked for."""

LANGUAGE_ROUNDS = 2
"""Rounds after which the language of a segment is settled, as published."""

_SPLITS = (r"[.!?。！？]+[\"'”’)）]*(?=\s|$|[⺀-￯])", r"[,;:，；：、—…]+", r"\s+")
_CLOSING = ".,;:!?%)"
"""No space is spoken before these."""


def sentence_end(text: str) -> str:
    """The mark by which a sentence ends in the text, or "".

    The first of the list that occurs; a full stop is passed over if the first one stands behind a digit.
    """
    for mark in SENTENCE_MARKS:
        place = text.find(mark)
        if place >= 0 and not (mark == "." and place > 0 and text[place - 1].isdigit()):
            return mark
    return ""


def detect_language(text: str) -> SpokenLanguage:
    """`chinese` if there are as many ideographs (U+4E00 to U+9FFF) as ASCII letters, or more."""
    ideographs = sum("一" <= char <= "鿿" for char in text)
    letters = sum(char.isascii() and char.isalpha() for char in text)
    return "chinese" if ideographs >= letters else "english"


def split_point(text: str) -> int | None:
    """Where to cut a text that has no end: behind the last sentence's end of its second half, else behind the last
    clause there, else behind the last space, else at its end. None if there is nothing to cut.
    """
    if not text.strip():
        return None
    half = len(text) // 2
    for pattern in _SPLITS:
        ends = [found.end() for found in re.finditer(pattern, text) if half <= found.end() < len(text)]
        if ends:
            return ends[-1]
    return len(text)


class Preparer(Protocol):
    """Turns the raw text of rounds into text to be spoken."""

    @property
    def language(self) -> SpokenLanguage:
        """In which numbers are read now."""
        ...

    def add(self, round_text: str, first_round: bool = False) -> str:
        """What this round appends to the text to be spoken."""
        ...

    def finish(self) -> str:
        """What was held back, when the text is over."""
        ...


class OfficialText:
    """As published: digits read one by one, `*` removed, the very first round left as it is [Q10]."""

    def __init__(self, transcript: str = "") -> None:
        """`transcript` is the text with which a further segment starts."""
        self._transcript, self._rounds = transcript, 0
        self._language: SpokenLanguage = detect_language(transcript)

    @property
    def language(self) -> SpokenLanguage:
        return self._language

    def add(self, round_text: str, first_round: bool = False) -> str:
        self._transcript += round_text
        if first_round:
            return round_text
        if self._rounds < LANGUAGE_ROUNDS:
            self._language = detect_language(self._transcript)
        self._rounds += 1
        return read_digits(round_text, self._language).replace("*", "")

    def finish(self) -> str:
        return ""


class PlainText:
    """As people read aloud. However a text is cut into rounds, the same is spoken.

    A word waits until it is whole, a number also for the word behind it (2:05 pm, 20 €, 5 million), at most 40
    characters. Numbers beside an ideograph are read in Chinese, others in the language of the text so far.
    """

    def __init__(self, expected: SpokenLanguage = "english") -> None:
        """`expected` is the language of a text of which no letter was seen yet."""
        self._units, self._markup = Units(), Markup()
        self._expected: SpokenLanguage = expected
        self._ideographs = self._letters = 0
        self._before = ""
        """The last character that is no space."""
        self._spoken_last, self._space = "", False
        self.places: list[tuple[int, int]] = []
        """Behind each unit, how far the text and the text to be spoken had come, in characters."""

    @property
    def spoken(self) -> int:
        """Characters of the text to be spoken so far."""
        return self.places[-1][1] if self.places else 0

    @property
    def language(self) -> SpokenLanguage:
        if not self._ideographs and not self._letters:
            return self._expected
        return "chinese" if self._ideographs >= self._letters else "english"

    def add(self, round_text: str, first_round: bool = False) -> str:
        return "".join([self._said(unit) for unit in self._units.add(round_text)])

    def finish(self) -> str:
        return "".join([self._said(unit) for unit in self._units.finish()])

    def _said(self, unit: Unit) -> str:
        said = self._prepared(unit)
        read, spoken = self.places[-1] if self.places else (0, 0)
        self.places.append((read + len(unit.text), spoken + len(said)))
        return said

    def _prepared(self, unit: Unit) -> str:
        words = self._markup.strip(unit)
        if unit.text.isspace():
            return self._paused(unit)
        self._count(words)
        language = self._language_of(words)
        words = read_numbers(addresses_in_words(words, language), language, self._before)
        self._before = unit.text[-1]
        return self._joined(words.strip(" "))

    def _count(self, text: str) -> None:
        self._ideographs += sum(is_ideograph(char) for char in text)
        self._letters += sum(char.isascii() and char.isalpha() for char in text)

    def _language_of(self, words: str) -> SpokenLanguage:
        beside = [char for char in self._before + words if is_ideograph(char)]
        return "chinese" if beside else self.language

    def _paused(self, unit: Unit) -> str:
        """A space before the next word; at the end of a line a full stop where the line has none."""
        self._space = True
        if unit.text not in "\n\r" or not self._spoken_last.isalnum():
            return ""
        self._spoken_last = "。" if is_ideograph(self._spoken_last) else "."
        return self._spoken_last

    def _joined(self, words: str) -> str:
        """Behind what was said before; a table's comma only where a cell stands before it."""
        if not words or (words == "," and not self._spoken_last.isalnum()):
            return ""
        space = " " if self._space and self._spoken_last and words[0] not in _CLOSING else ""
        self._spoken_last, self._space = words[-1], False
        return space + words
