"""How far ahead of the ear a response is made."""

from __future__ import annotations

import pytest

from model_server.engine import SpeechChunk
from model_server.minicpmo.replies.segment import CALL
from model_server.minicpmo.serving.engine import AHEAD_MS
from model_server.protocol import SPEECH_RATE
from model_server.speaking import RunningResponse

PIECE = CALL * 512
"""Samples of a reply's longest piece."""


def made_without_another_word(running: RunningResponse) -> int:
    """Milliseconds ahead of the ear when nothing more is asked for."""
    while running.has_credit:
        running.message(SpeechChunk(bytes(2 * PIECE), (0, 0)))
    return running.ahead_ms


def test_once_the_ear_is_heard_of_speech_is_at_most_two_seconds_ahead() -> None:
    running = RunningResponse("r", 1, 5_000, AHEAD_MS)
    made_without_another_word(running)
    for heard in range(4_000, 20_000, 200):
        running.heard(heard)
        assert 1_000 < made_without_another_word(running) <= 2_000


@pytest.mark.parametrize("engine", [AHEAD_MS, None])
def test_an_ear_that_is_never_heard_of_gets_what_the_contract_says(engine: int | None) -> None:
    running = RunningResponse("r", 1, 5_000, engine)
    assert 5_000 <= made_without_another_word(running) < 5_000 + PIECE * 1_000 / SPEECH_RATE


def test_an_engine_is_asked_for_no_more_than_the_server_allows() -> None:
    running = RunningResponse("r", 1, 500, 60_000)
    running.message(SpeechChunk(bytes(2 * PIECE), (0, 0)))
    running.heard(1)
    assert made_without_another_word(running) < 500 + PIECE * 1_000 / SPEECH_RATE
