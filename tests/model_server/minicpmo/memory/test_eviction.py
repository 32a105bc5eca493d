"""What goes first, and what never goes."""

from __future__ import annotations

import pytest

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.memory.eviction import ContextLimits, keep
from model_server.minicpmo.memory.parts import Kind, Part, Parts

LIMITS = ContextLimits(most=220, high=200, low=100, reply=20, seconds=2)
KINDS = {"h": Kind.HEAD, "e": Kind.CLOSE, "o": Kind.OPEN, "p": Kind.PICTURE, "c": Kind.CONTENT, "w": Kind.WHOLE}


def parts(text: str) -> Parts:
    """Parts as `h10 o3 p20 c10 w8`: a round begins with each `o`; a `c` ends an item that took a second."""
    found: list[Part] = []
    number = item = 0
    for word in text.split():
        kind = KINDS[word[0]]
        number += kind is Kind.OPEN
        written = kind in (Kind.PICTURE, Kind.CONTENT)
        found.append(Part(kind, int(word[1:]), number, item if written else -1, float(item)))
        item += kind is Kind.CONTENT
    return tuple(found)


def left(text: str, tokens: int = 10, *, now: float = 1000.0, pinned: int = 10**6) -> str:
    """What stays of parts."""
    kept = keep(parts(text), LIMITS, tokens, LIMITS.reply, now, pinned)
    return " ".join(word for word, stays in zip(text.split(), kept, strict=True) if stays)


def test_nothing_goes_while_everything_fits() -> None:
    text = "h50 o3 p50 c10 c57"
    assert left(text, 10) == text
    assert left(text, 11) != text


def test_the_oldest_pictures_go_first_and_no_more_than_needed() -> None:
    text = "h10 o3 p30 c10 p30 c10 w20 e2 o3 p21 c10 p10 c10 w4"
    assert left(text, 8) == "h10 o3 c10 c10 w20 e2 o3 c10 p10 c10 w4"
    text = "h10 o3 p81 c10 p9 c10 w15 e2 o3 c10 p8 c10 w2"
    assert left(text, 8) == text.replace("p81 ", "")


def test_then_the_oldest_rounds_go_whole() -> None:
    assert left("h10 o3 c40 w40 e2 o3 c20 w10 e2 o3 c40 w15") == "h10 o3 c40 w15"
    assert left("h10 o3 c60 w40 e2 o3 c10 w5 e2 o3 c30 w15") == "h10 o3 c10 w5 e2 o3 c30 w15"


def test_a_reply_never_goes_without_its_question() -> None:
    for reply in range(30, 120, 10):
        stays = left(f"h10 o3 c50 w{reply} e2 o3 c20 w30 e2 o3 c30")
        assert ("c50" in stays) == (f"c50 w{reply} e2" in stays) == (f"w{reply}" in stays)


def test_of_a_long_message_the_oldest_pieces_go_and_its_header_stays() -> None:
    assert left("h10 o3 " + " ".join(["p12 c8"] * 9)) == "h10 o3 " + "c8 " * 7 + "p12 c8"
    assert left("h10 o3 " + " ".join(["c20"] * 9)) == "h10 o3 c20 c20 c20"


def test_the_last_seconds_stay_while_anything_older_is_left() -> None:
    text = "h10 o3 p20 c40 p20 c40 p20 c40"
    assert left(text, 5, now=2.5) == "h10 o3 p20 c40 p20 c40"
    assert left(text, 60, now=2.5) == "h10 o3 c40 p20 c40"


def test_what_a_mark_returns_to_stays_if_older_parts_suffice() -> None:
    text = "h10 o3 c50 w30 e2 o3 c30 w20 e2 o3 c30"
    assert left(text) == "h10 o3 c30"
    assert left(text, pinned=95) == "h10 o3 c30 w20 e2 o3 c30"
    assert left(text, pinned=50) == "h10 o3 c30 w20 e2 o3 c30", "a mark saves no more than there is room for"


@pytest.mark.parametrize("text", ["h190", "h100 o3 c100", "h150 o3 w40"])
def test_what_cannot_go_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="context: expected at most 220 positions"):
        left(text, 60)


def test_a_piece_as_large_as_the_context_is_refused() -> None:
    with pytest.raises(InputError, match="context: expected at most 220 positions"):
        left("h10 o3 c20 w20", 220)


@pytest.mark.parametrize("bad", [{"low": 190}, {"most": 100}, {"reply": 0}, {"low": 0}])
def test_limits_out_of_order_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(InputError, match="context limits: expected"):
        ContextLimits(**{"most": 220, "high": 200, "low": 100, "reply": 20, **bad})
