"""The closed grammar that the recogniser listens for: the script's sentences as a tree of words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

START = 0
END = 1

PHONES = frozenset(
    [
        "AA",
        "AE",
        "AH",
        "AO",
        "AW",
        "AY",
        "B",
        "CH",
        "D",
        "DH",
        "EH",
        "ER",
        "EY",
        "F",
        "G",
        "HH",
        "IH",
        "IY",
        "JH",
        "K",
        "L",
        "M",
        "N",
        "NG",
        "OW",
        "OY",
        "P",
        "R",
        "S",
        "SH",
        "T",
        "TH",
        "UH",
        "UW",
        "V",
        "W",
        "Y",
        "Z",
        "ZH",
    ]
)
"""What words are made of: ARPAbet, as CMUdict writes it."""


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
            f"pronunciations, e.g. {words[0]}: [W IY L AE N]"
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
    known = _known(words)
    lexicon = {word: pronunciations.get(word) or tuple(known[word]) for word in sorted(words)}
    missing = tuple(word for word, sounds in lexicon.items() if not sounds)
    if missing:
        raise UnknownWords(missing)
    return lexicon


def model_folder() -> Path:
    """Where pocketsphinx keeps its American English model."""
    from pocketsphinx import get_model_path

    return Path(get_model_path()) / "en-us"


def _known(words: set[str]) -> dict[str, list[str]]:
    """How `words` sound after CMUdict, which comes with pocketsphinx: in several ways, or no way that it knows."""
    known: dict[str, list[str]] = {word: [] for word in words}
    with (model_folder() / "cmudict-en-us.dict").open(encoding="utf-8") as lines:
        for line in lines:
            word, _, sounds = line.partition(" ")
            if (plain := word.partition("(")[0]) in known:
                known[plain].append(sounds.strip())
    return known
