"""Where a held reply goes on: tables of words, and what was heard before."""

from __future__ import annotations

import pytest

from model_server.protocol import WordMark
from realtime.output.restart import LONGEST_BACK_MS, WordStarts

MARKS = [WordMark(0, 5, 0, 300), WordMark(6, 10, 350, 700), WordMark(11, 30, 700, 2_400)]


@pytest.mark.parametrize(
    ("heard_ms", "restart_ms"),
    [
        (0, 0),
        (200, 0),
        (300, 300),
        (320, 320),
        (400, 350),
        (700, 700),
        (900, 700),
        (700 + LONGEST_BACK_MS + 1, 700 + LONGEST_BACK_MS + 1),
        (9_000, 9_000),
    ],
)
def test_a_word_that_was_cut_is_said_again_unless_it_is_very_long(heard_ms: float, restart_ms: float) -> None:
    words = WordStarts()
    words.add(MARKS[:1])
    words.add(MARKS[1:])
    assert words.restart_ms(heard_ms) == restart_ms


def test_without_times_it_goes_on_where_it_fell_silent() -> None:
    assert WordStarts().restart_ms(512.0) == 512.0
