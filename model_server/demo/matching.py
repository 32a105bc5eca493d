"""Finds what typed text means, and the sentences of the script that come nearest to any words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher

from model_server.demo import numbers
from model_server.demo.phrasings import Sentence
from model_server.demo.script import Loaded
from model_server.demo.script_checks import Meaning

_ENOUGH = 0.84
_LEAD = 0.03
"""The best sentence must be this much nearer than the best of any other intent."""
_CONTAINED_WORDS = 3
_CLOSER_LOOKS = 24
_MOST_WORDS = 30
"""A longer text is not compared as a whole."""
_MOST_DIGITS = 3
_SPELLINGS = {"color": "colour", "favorite": "favourite", "gray": "grey", "neighbor": "neighbour", "ok": "okay"}
_SHORT = {
    "what's": "what is", "who's": "who is", "where's": "where is", "how's": "how is", "it's": "it is", "i'm": "i am",
    "you're": "you are", "i've": "i have", "you've": "you have", "that's": "that is", "let's": "let us",
    "we've": "we have", "i'd": "i would", "can't": "can not", "cannot": "can not", "don't": "do not",
}  # fmt: skip


def normal(text: str) -> str:
    """`text` as plain lower-case words: no punctuation, short forms and figures written out, one spelling."""
    words = re.findall(r"[a-z]+(?:'[a-z]+)?|\d+", text.lower().replace("’", "'"))
    return " ".join(_SPELLINGS.get(part, part) for word in words for part in _written_out(word).split())


class Matcher:
    """Knows every sentence of one script."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._exact = {normal(text): meaning for text, meaning in loaded.meanings.items()}
        self._words = {text: frozenset(text.split()) for text in self._exact}
        rare = Counter(word for words in self._words.values() for word in words)
        self._weights = {word: 1 / (1 + count) ** 0.5 for word, count in rare.items()}

    def meaning(self, text: str) -> Meaning | None:
        """What typed `text` means, or None."""
        words = normal(text)
        if not words:
            return None
        return self._exact.get(words) or self._open(text) or self._near(words) or self._contained(words)

    def nearest(self, text: str) -> tuple[str, str]:
        """The sentences of two intents that come nearest to `text`."""
        ranked = self._ranked(" ".join(normal(text).split()[:_MOST_WORDS]))
        if not ranked:
            ranked = [(0.0, normal(suggestion)) for suggestion in self._loaded.script.suggestions]
        best: dict[str, str] = {}
        for _, sentence in ranked:
            meaning = self._exact.get(sentence)
            best.setdefault(meaning.intent.name if meaning else sentence, self._as_written(sentence))
        first, *rest = (*best.values(), *self._loaded.script.suggestions)
        second = next((each for each in rest if normal(each) != normal(first)), first)
        return first, second

    def _as_written(self, sentence: str) -> str:
        meaning = self._exact.get(sentence)
        return meaning.sentence.text if meaning else sentence

    def _near(self, words: str) -> Meaning | None:
        if words.count(" ") >= _MOST_WORDS:
            return None
        ranked = self._ranked(words)
        if not ranked or ranked[0][0] < _ENOUGH:
            return None
        best = self._exact[ranked[0][1]]
        other = next((score for score, sentence in ranked if self._exact[sentence].intent is not best.intent), 0.0)
        return best if ranked[0][0] >= other + _LEAD else None

    def _contained(self, words: str) -> Meaning | None:
        """A longer text that has a whole sentence in it; the longest counts."""
        inside = [
            sentence
            for sentence in self._exact
            if sentence.count(" ") + 1 >= _CONTAINED_WORDS and f" {sentence} " in f" {words} "
        ]
        return self._exact[max(inside, key=len)] if inside else None

    def _open(self, text: str) -> Meaning | None:
        """A phrasing whose last slot takes any text: `repeat after me ...`."""
        for meaning in self._loaded.meanings.values():
            for name, value in meaning.sentence.values[-1:]:
                slot = self._loaded.script.slots.get(name)
                beginning = meaning.sentence.text.removesuffix(value).strip()
                if slot is None or not slot.open or not meaning.sentence.text.endswith(value) or not beginning:
                    continue
                found = re.match(r"[\W_]*" + r"[\W_]+".join(beginning.split()) + r"\b[\W_]*(.*\w.*)", text, re.I | re.S)
                if found:
                    given = found[1].strip()
                    sentence = Sentence(f"{beginning} {given}", (*meaning.sentence.values[:-1], (name, given)))
                    return Meaning(meaning.intent, sentence)
        return None

    def _ranked(self, words: str) -> list[tuple[float, str]]:
        """The nearest sentences, best first, 1 is equal."""
        given = frozenset(words.split())
        by_words = sorted(((self._shared(given, text), text) for text in self._words), reverse=True)
        close = [text for shared, text in by_words[:_CLOSER_LOOKS] if shared > 0]
        return sorted(((SequenceMatcher(None, words, text).ratio(), text) for text in close), reverse=True)

    def _shared(self, given: frozenset[str], text: str) -> float:
        """How much of the rarer words two sentences share, 0 to 1."""
        words = self._words[text]
        return 2 * self._weight(given & words) / (self._weight(given) + self._weight(words))

    def _weight(self, words: Iterable[str]) -> float:
        return sum((self._weights.get(word, 1.0) for word in words), 0.0)


def _written_out(word: str) -> str:
    if word.isdigit() and len(word) <= _MOST_DIGITS and int(word) <= numbers.LARGEST:
        return numbers.spoken(int(word))
    return _SHORT.get(word, word)


def filled(values: Mapping[str, str], text: str) -> str:
    """`text` with the slots in it replaced by `values`."""
    return re.sub(r"\{([a-z_]+)\}", lambda found: values.get(found[1], found[0]), text)
