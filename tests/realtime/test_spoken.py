"""What of a text was heard: tables of speech, word times and cuts."""

from __future__ import annotations

import pytest

from model_server.protocol import Speech, WordMark
from realtime.session.spoken import SpokenText

TEXT = "The quick brown fox"


def piece(start_ms: int, ms: int, span: tuple[int, int], *marks: tuple[int, int, int, int]) -> Speech:
    return Speech(
        response_id="r",
        position=start_ms * 24,
        pcm=bytes(ms * 48),
        text_span=span,
        marks=[WordMark(*mark) for mark in marks],
    )


def spoken(*pieces: Speech) -> SpokenText:
    text = SpokenText()
    text.add_text(0, TEXT)
    for speech in pieces:
        text.add_speech(speech)
    return text


@pytest.mark.parametrize(
    ("heard_ms", "kept"),
    [
        (0, ""),
        (199, ""),
        (200, "The"),
        (499, "The"),
        (500, "The quick"),
        (999, "The quick brown"),
        (1000, TEXT),
        (9000, TEXT),
    ],
)
def test_exact_word_times_cut_exactly(heard_ms: float, kept: str) -> None:
    marks = [(0, 3, 0, 200), (4, 9, 200, 500), (10, 15, 500, 800), (16, 19, 800, 1000)]
    assert spoken(piece(0, 1000, (0, 19), *marks)).heard(heard_ms) == kept


@pytest.mark.parametrize(
    ("heard_ms", "kept"), [(0, ""), (100, ""), (200, "The"), (300, "The"), (500, "The quick"), (950, "The quick brown")]
)
def test_without_them_time_and_text_run_alike_and_no_word_is_cut(heard_ms: float, kept: str) -> None:
    assert spoken(piece(0, 1000, (0, 19))).heard(heard_ms) == kept


def test_pieces_add_up() -> None:
    text = spoken(piece(0, 500, (0, 9)), piece(500, 500, (9, 19)))
    assert text.heard(500) == "The quick"
    assert text.heard(600) == "The quick"
    assert text.heard(1000) == TEXT
    assert text.speech_ms == 1000


def test_text_that_was_not_spoken_yet_was_not_heard() -> None:
    assert spoken(piece(0, 500, (0, 9))).heard(60_000) == "The quick"
    assert spoken().heard(60_000) == ""


def test_text_comes_in_pieces_and_may_be_corrected() -> None:
    text = SpokenText()
    text.add_text(0, "The quack")
    text.add_text(6, "ick")
    assert text.text == "The quick"


def test_a_piece_that_speaks_no_text_is_no_harm() -> None:
    text = spoken(piece(0, 500, (0, 9)), piece(500, 200, (9, 9)), piece(700, 300, (9, 19)))
    assert text.heard(600) == "The quick"
    assert text.heard(1000) == TEXT
