"""What the loudspeaker plays, found by what was heard."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.frames import AudioMessage
from realtime.reference import Reference


def message(position: int, level: int, *, number: int = 1) -> AudioMessage:
    return AudioMessage(number, position, np.full(480, level, "<i2").tobytes())


def power(level: int) -> float:
    return (level / 32768) ** 2


def sent() -> Reference:
    reference = Reference()
    for index, level in enumerate((1_000, 2_000, 4_000)):
        reference.sent(message(480 * index, level))
    return reference


def test_what_was_heard_since_the_last_question_counts():
    reference = sent()
    assert reference.power(1, 20.0) == pytest.approx(power(1_000))
    assert reference.power(1, 40.0) == pytest.approx(power(2_000))
    assert reference.power(1, 60.0) == pytest.approx(power(4_000))


def test_a_loudspeaker_that_stands_still_is_silent():
    reference = sent()
    reference.power(1, 20.0)
    assert reference.power(1, 20.0) == 0


def test_what_is_not_known_is_silent():
    reference = sent()
    assert reference.power(None, 20.0) == 0
    assert reference.power(7, 20.0) == 0
    assert reference.power(1, 1_000.0) == 0
    reference.sent(AudioMessage(1, 1_440, b"", last=True))


def test_the_next_response_begins_at_its_start():
    reference = sent()
    reference.power(1, 60.0)
    reference.sent(message(0, 3_000, number=2))
    assert reference.power(2, 20.0) == pytest.approx(power(3_000))


def test_only_the_latest_responses_are_kept():
    reference = sent()
    for number in (2, 3):
        reference.sent(message(0, 500, number=number))
    assert reference.power(1, 20.0) == 0
