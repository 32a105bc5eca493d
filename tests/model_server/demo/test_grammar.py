from __future__ import annotations

import pytest

from model_server.demo.grammar import END, PHONES, START, Arc, UnknownWords, build


def sentences_of(arcs: tuple[Arc, ...]) -> set[str]:
    """Every way from the start to the end."""
    found: set[str] = set()
    ways = [(START, "")]
    while ways:
        state, words = ways.pop()
        for arc in arcs:
            if arc.source == state and arc.target == END:
                found.add(f"{words} {arc.word}".strip())
            elif arc.source == state:
                ways.append((arc.target, f"{words} {arc.word}"))
    return found


def test_exactly_these_sentences() -> None:
    given = {"stop", "stop now", "what time is it", "what time", "tell me a joke", "tell me a story"}
    assert sentences_of(build(given, {}).arcs) == given


def test_first_words_are_shared() -> None:
    arcs = build(["tell me a joke", "tell me a story"], {}).arcs
    assert sum(arc.source == START for arc in arcs) == 1


def test_pronunciations() -> None:
    lexicon = build(["read colour"], {"colour": ("K AH L ER",)}).lexicon
    assert lexicon["colour"] == ("K AH L ER",)
    assert len(lexicon["read"]) == 2
    assert {phone for sounds in lexicon.values() for each in sounds for phone in each.split()} <= PHONES


def test_unknown_words_are_named() -> None:
    with pytest.raises(UnknownWords, match="no pronunciation for blorft, xyzzyx") as caught:
        build(["stop the blorft", "xyzzyx"], {})
    assert caught.value.words == ("blorft", "xyzzyx")
