"""What of a text was heard: tables of speech, word times and cuts."""

from __future__ import annotations

import numpy as np
import pytest

from model_server.protocol import Speech, WordMark
from realtime.session.speech_times import words
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


def said(text: str, letter_ms: float = 65.0, pause_ms: float = 300.0) -> tuple[bytes, list[float]]:
    """A sound for `text`, a tone for each word and silence after each clause; and when each word has been said, ms."""
    sound, ends = [], []
    for word in words(text):
        length = round(word.letters * letter_ms * 24)
        sound.append((8_000 * np.sin(np.arange(length) / 10)).astype("<i2"))
        ends.append(sum(map(len, sound)) / 24)
        if word.pause:
            sound.append(np.zeros(round(pause_ms * 24), "<i2"))
    return np.concatenate(sound).tobytes(), ends


RUNNING = "Take the train from the station, and change at the second stop. Then walk through the park; it is not far."


def running_ahead(letter_ms: float) -> tuple[SpokenText, list[float]]:
    """All of the text comes with the first half second of a sound that speaks it in its own time."""
    sound, ends = said(RUNNING, letter_ms)
    text = SpokenText()
    text.add_text(0, RUNNING)
    for start in range(0, len(sound), 25_600):
        span = (0, len(RUNNING)) if start == 0 else (len(RUNNING), len(RUNNING))
        text.add_speech(Speech(response_id="r", position=start // 2, pcm=sound[start : start + 25_600], text_span=span))
    return text, ends


@pytest.mark.parametrize("letter_ms", [50.0, 65.0, 85.0])
def test_text_that_runs_ahead_of_its_speech_is_found_again_by_the_pauses(letter_ms: float) -> None:
    text, ends = running_ahead(letter_ms)
    off = [
        abs(len(text.heard(cut_ms).split()) - sum(end <= cut_ms for end in ends))
        for cut_ms in np.arange(100, ends[-1], 50)
    ]
    assert max(off) <= 2
    assert np.mean(off) < 0.5


def test_all_of_a_complete_response_is_heard_at_its_end_and_not_before() -> None:
    text, ends = running_ahead(90.0)
    text.finish()
    assert text.heard(text.speech_ms) == RUNNING
    assert text.heard(ends[-2] - 50) != RUNNING


def test_a_script_without_spaces_is_cut_between_its_signs() -> None:
    text = SpokenText()
    text.add_text(0, "今天天气很好")
    text.add_speech(piece(0, 1200, (0, 6)))
    assert text.heard(0) == ""
    assert text.heard(650) == "今天天"
