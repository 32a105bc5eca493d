from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.demo.espeak import Espeak, VoiceError
from model_server.demo.speech import LONGEST_SENTENCE_CHARS, PAUSE_MS, Piece, Speaker, sentences
from model_server.demo.voice_messages import Manner, Speak
from model_server.protocol import SPEECH_RATE

TEXT = "Hello there! It is 12:30 PM, isn't it? A very long unpronounceableandneverendingword ends this. 👍 …"


@pytest.fixture(scope="module")
def voice() -> Espeak:
    return Espeak(Manner())


def say(voice: Espeak, text: str) -> list[Piece]:
    speaker, parts = Speaker(), list(sentences(text))
    return [
        piece
        for number, part in enumerate(parts)
        for piece in speaker.say(part, voice.speak(Speak(number, part)), number == len(parts) - 1)
    ]


def test_pieces_are_the_text(voice: Espeak) -> None:
    pieces = say(voice, TEXT)
    assert "".join(piece.text for piece in pieces) == TEXT
    position = 0
    for piece in pieces:
        assert piece.text_span == (position, position + len(piece.text))
        position += len(piece.text)
        assert len(piece.pcm) % 2 == 0
        assert len(piece.pcm) <= 2 * SPEECH_RATE


def test_every_word_has_its_time(voice: Espeak) -> None:
    pieces = say(voice, TEXT)
    marks = [mark for piece in pieces for mark in piece.marks]
    spoken = [TEXT[mark.text_start : mark.text_end] for mark in marks]
    assert " ".join(spoken).split() == TEXT.split()
    total_ms = sum(len(piece.pcm) for piece in pieces) // 2 * 1000 // SPEECH_RATE
    for earlier, later in pairwise(marks):
        assert earlier.start_ms < earlier.end_ms <= later.start_ms
    assert marks[0].start_ms == 0
    assert marks[-1].end_ms <= total_ms


def test_speech_begins_and_ends_without_silence_or_clicks(voice: Espeak) -> None:
    pieces = say(voice, "Hello there.")
    samples = np.frombuffer(b"".join(piece.pcm for piece in pieces), "<i2")
    assert abs(int(samples[0])) < 50
    assert abs(int(samples[-1])) < 50
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 300)
    assert loud[0] < SPEECH_RATE * 0.02
    assert len(samples) - loud[-1] < SPEECH_RATE * 0.05
    assert 0.6 * 32767 < np.abs(samples.astype(int)).max() < 0.75 * 32767


def test_sentences_stand_apart(voice: Espeak) -> None:
    together = say(voice, "Good morning. Good evening.")
    alone = [say(voice, text) for text in ("Good morning.", "Good evening.")]
    lengths = [sum(len(piece.pcm) for piece in pieces) for pieces in (together, *alone)]
    pause = 2 * SPEECH_RATE * PAUSE_MS // 1000
    assert abs(lengths[0] - lengths[1] - lengths[2] - pause) < 2 * SPEECH_RATE // 50


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ("It is 3.5 metres.", ["It is 3.5 metres."]),
        ('He said "stop." Then he left', ['He said "stop." ', "Then he left"]),
        ("A line\nand another", ["A line\n", "and another"]),
        ("  ", []),
    ],
)
def test_cuts_into_sentences(text: str, parts: list[str]) -> None:
    assert list(sentences(text)) == parts


@given(st.text(max_size=900))
def test_sentences_lose_nothing(text: str) -> None:
    parts = list(sentences(text))
    assert "".join(parts) == text.strip()
    assert all(len(part.strip()) > 0 or not part for part in parts)
    assert all(len(part) <= LONGEST_SENTENCE_CHARS for part in parts)


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(VoiceError, match="no voice 'nobody'"):
        Espeak(Manner(voice="nobody"))
