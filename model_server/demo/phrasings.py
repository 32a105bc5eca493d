"""What a person may say, in the short form of the script: `[please] (tell|give) me {number}`.

Words are lower case; `[...]` may be left out, `(a|b)` is a choice, `{slot}` is one of the slot's values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_SENTENCES = 400
"""One phrasing may stand for this many sentences."""

_TOKEN = re.compile(r"\s*(?:(?P<mark>[\[\]()|])|\{(?P<slot>[a-z_]+)\}|(?P<word>[a-z]+(?:'[a-z]+)?)|(?P<other>\S))")


class PhrasingError(ValueError):
    """A phrasing that cannot be read; the text says where and what was expected."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One way to say a phrasing: its words in one string, and the value of each slot in it."""

    text: str = ""
    values: tuple[tuple[str, str], ...] = ()

    def then(self, other: Sentence) -> Sentence:
        """This sentence and `other` after it."""
        return Sentence(f"{self.text} {other.text}".strip(), self.values + other.values)


def expand(phrasing: str, slots: Mapping[str, Sequence[str]]) -> tuple[Sentence, ...]:
    """Every sentence that `phrasing` stands for. Raises `PhrasingError`."""
    reader = _Reader(phrasing, slots)
    sentences = reader.choice()
    if reader.token is not None:
        raise reader.error("the end of the phrasing")
    if any(not sentence.text for sentence in sentences):
        raise PhrasingError(f"{phrasing!r} may be left out as a whole: keep one word outside of the brackets")
    return tuple(dict.fromkeys(sentences))


_QUESTIONS = frozenset(
    [
        "what",
        "which",
        "who",
        "where",
        "when",
        "why",
        "how",
        "is",
        "are",
        "am",
        "do",
        "does",
        "did",
        "can",
        "could",
        "may",
        "will",
        "would",
        "should",
    ]
)


def written(text: str) -> str:
    """The words of a sentence as one writes them: `what can i do` is `What can I do?`"""
    words = ["I" if word == "i" else word for word in text.split()]
    if not words:
        return ""
    line = " ".join(words)
    end = "" if line[-1] in ".!?" else "?" if words[0].lower() in _QUESTIONS else "."
    return f"{line[0].upper()}{line[1:]}{end}"


class _Reader:
    """Reads one phrasing from left to right, one token ahead."""

    def __init__(self, phrasing: str, slots: Mapping[str, Sequence[str]]) -> None:
        self._phrasing = phrasing
        self._slots = slots
        self._tokens = iter(_TOKEN.finditer(phrasing))
        self.token: re.Match[str] | None = None
        self._advance()

    def error(self, expected: str) -> PhrasingError:
        """What was expected here, and what came."""
        got = repr(self.token.group().strip()) if self.token else "the end"
        return PhrasingError(f"{self._phrasing!r}: expected {expected}, got {got}")

    def choice(self) -> list[Sentence]:
        """`sequence | sequence ...`"""
        sentences = self._sequence()
        while self._take("|"):
            sentences += self._sequence()
        return sentences

    def _sequence(self) -> list[Sentence]:
        sentences = [Sentence()]
        while (part := self._part()) is not None:
            if len(sentences) * len(part) > MOST_SENTENCES:
                raise PhrasingError(
                    f"{self._phrasing!r} stands for more than {MOST_SENTENCES} sentences: split it or shorten its slots"
                )
            sentences = [before.then(after) for before in sentences for after in part]
        return sentences

    def _part(self) -> list[Sentence] | None:
        if self._take("["):
            return [Sentence(), *self._closed("]")]
        if self._take("("):
            return self._closed(")")
        if self.token is None or self.token["mark"]:
            return None
        token = self.token
        if token["other"]:
            raise self.error("a lower-case word, [optional words], (a|choice) or a {slot}")
        self._advance()
        return [Sentence(token["word"])] if token["word"] else self._slot(token["slot"])

    def _slot(self, name: str) -> list[Sentence]:
        if name not in self._slots:
            raise PhrasingError(f"{self._phrasing!r}: unknown slot {{{name}}}; known are {', '.join(self._slots)}")
        return [Sentence(value, ((name, value),)) for value in self._slots[name]]

    def _closed(self, mark: str) -> list[Sentence]:
        inside = self.choice()
        if not self._take(mark):
            raise self.error(f"{mark!r}")
        return inside

    def _take(self, mark: str) -> bool:
        if self.token is None or self.token["mark"] != mark:
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        self.token = next(self._tokens, None)
