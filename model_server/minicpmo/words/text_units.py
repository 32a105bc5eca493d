"""Cuts text that arrives in rounds into units that are prepared one by one, the same ones however it arrives.

A unit is a word, an ideograph or a space. A word that may be the beginning of a number, time or price takes the word
behind it along, or the ideograph behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST = 40
"""Characters of the longest unit; two more have to be seen before a longer one is cut."""

_WIDE = ((0x2E80, 0xA4CF), (0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))
_WIDE_IN_NUMBERS = "％￥"

_GLUES = re.compile(r"(?:\d[%％°℃℉]?[*_`]*|\(\d{3}\)|[$€£¥￥₩₹]|^[^\w\s]*\d{1,3}[.)])$")
"""How a word ends that belongs together with what stands behind it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """`cut`: the word goes on, but was too long."""

    text: str
    cut: bool = False


def is_wide(char: str) -> bool:
    """A character of a script without spaces, its punctuation included."""
    if char.isdecimal() or char in _WIDE_IN_NUMBERS:
        return False
    return any(first <= ord(char) <= last for first, last in _WIDE)


def is_ideograph(char: str) -> bool:
    """A Chinese character."""
    return "一" <= char <= "鿿"


class Units:
    """Holds back at most `MOST` + 1 characters."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, text: str) -> Iterator[Unit]:
        """Units that are whole now."""
        self._held += text
        return self._whole(final=False)

    def finish(self) -> Iterator[Unit]:
        """What is left when the text is over."""
        return self._whole(final=True)

    def _whole(self, final: bool) -> Iterator[Unit]:
        while self._held:
            end = _end(self._held, final)
            if end is None and len(self._held) < MOST + 2:
                return
            unit = Unit(self._held[:end]) if end is not None and end <= MOST else _shortened(self._held)
            self._held = self._held[len(unit.text) :]
            yield unit


def _shortened(text: str) -> Unit:
    """The beginning of a unit that is too long: up to its last space, else in the middle of the word."""
    space = text.rfind(" ", 0, MOST)
    return Unit(text[:space]) if space > 0 else Unit(text[:MOST], cut=True)


def _end(text: str, final: bool) -> int | None:
    """Length of the first unit, None if that depends on what comes next."""
    if text[0].isspace() or is_wide(text[0]):
        return 1
    start = 0
    while True:
        end = start
        while end < len(text) and not text[end].isspace() and not is_wide(text[end]):
            end += 1
        if end == len(text):
            return end if final else None
        if not _GLUES.search(text[start:end]):
            return end
        after = end + (text[end] == " ")
        if after == len(text):
            return end if final else None
        if text[after].isspace() or is_wide(text[after]):
            return after + 1 if is_ideograph(text[after]) else end
        start = after
