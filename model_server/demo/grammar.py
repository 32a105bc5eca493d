"""The closed grammar that the recogniser listens for: the script's sentences as a tree of words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import msgspec

START = 0
END = 1


class Arc(msgspec.Struct, frozen=True, array_like=True):
    """One word that leads from one state of the grammar to another."""

    source: int
    target: int
    word: str


class Grammar(msgspec.Struct, frozen=True):
    """Sentences that share their first words (from state `START` to `END`), and how each word sounds.

    `lexicon`: word to its pronunciations, each a string of ARPAbet phones.
    """

    arcs: tuple[Arc, ...]
    lexicon: dict[str, tuple[str, ...]]


class UnknownWords(ValueError):
    """Words that the pronunciation dictionary lacks."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        super().__init__(
            f"no pronunciation for {', '.join(words)}: write them otherwise, or say how they sound in the section "
            f"pronunciations, e.g. {words[0]}: [K AH L ER]"
        )


def build(sentences: Iterable[str], pronunciations: Mapping[str, tuple[str, ...]]) -> Grammar:
    """The grammar of exactly `sentences` (words apart by one space). Raises `UnknownWords`."""
    arcs: dict[Arc, None] = {}
    states: dict[tuple[str, ...], int] = {(): START}
    for sentence in sorted(set(sentences)):
        words = tuple(sentence.split())
        for length in range(1, len(words)):
            source = states[words[: length - 1]]
            target = states.setdefault(words[:length], len(states) + END)
            arcs[Arc(source, target, words[length - 1])] = None
        arcs[Arc(states[words[:-1]], END, words[-1])] = None
    return Grammar(tuple(arcs), _lexicon({arc.word for arc in arcs}, pronunciations))


def _lexicon(words: set[str], pronunciations: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    known = dictionary()
    lexicon = {word: pronunciations.get(word) or known.get(word, ()) for word in sorted(words)}
    missing = tuple(word for word, sounds in lexicon.items() if not sounds)
    if missing:
        raise UnknownWords(missing)
    return lexicon


def model_folder() -> Path:
    """Where pocketsphinx keeps its American English model."""
    from pocketsphinx import get_model_path

    return Path(get_model_path()) / "en-us"


@cache
def dictionary() -> dict[str, tuple[str, ...]]:
    """The pronunciations that come with pocketsphinx (CMUdict), about 127 000 words."""
    words: dict[str, list[str]] = {}
    for line in (model_folder() / "cmudict-en-us.dict").read_text(encoding="utf-8").splitlines():
        word, _, sounds = line.partition(" ")
        words.setdefault(word.partition("(")[0], []).append(sounds.strip())
    return {word: tuple(sounds) for word, sounds in words.items()}


@cache
def phones() -> frozenset[str]:
    """The phones that the model knows."""
    return frozenset(phone for sounds in dictionary().values() for each in sounds for phone in each.split())
