"""What the loudspeaker plays, found by what was heard."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.connection.frames import AudioMessage
from realtime.media.bands import bands
from realtime.output.reference import Reference

HISS = np.random.default_rng(4).standard_normal(480)


def message(position: int, level: int, *, number: int = 1) -> AudioMessage:
    return AudioMessage(number, position, (level * HISS).astype("<i2").tobytes())


def power(level: int) -> float:
    """Of 20 ms of it."""
    return float(bands(((level * HISS).astype("<i2") / 32768).astype(np.float32)).sum())


def played(reference: Reference, number: int | None, heard_ms: float) -> float:
    found = reference.played(number, heard_ms)
    return 0.0 if found is None else float(found.sum())


def sent() -> Reference:
    reference = Reference()
    for index, level in enumerate((1_000, 2_000, 4_000)):
        reference.sent(message(480 * index, level))
    return reference


def test_what_was_heard_since_the_last_question_counts() -> None:
    reference = sent()
    assert played(reference, 1, 20.0) == pytest.approx(power(1_000))
    assert played(reference, 1, 40.0) == pytest.approx(power(2_000))
    assert played(reference, 1, 60.0) == pytest.approx(power(4_000))


def test_a_part_of_a_message_counts_by_its_length() -> None:
    reference = sent()
    played(reference, 1, 20.0)
    assert played(reference, 1, 25.0) == pytest.approx(0.25 * power(2_000))
    assert played(reference, 1, 45.0) == pytest.approx(0.75 * power(2_000) + 0.25 * power(4_000))


def test_after_an_absence_only_the_latest_40_ms_count() -> None:
    assert played(sent(), 1, 60.0) == pytest.approx(power(2_000) + power(4_000))


def test_a_loudspeaker_that_stands_still_is_silent() -> None:
    reference = sent()
    played(reference, 1, 20.0)
    assert reference.played(1, 20.0) is None


def test_words_that_are_said_again_sound_again() -> None:
    reference = sent()
    played(reference, 1, 60.0)
    assert played(reference, 1, 20.0) == pytest.approx(power(1_000))
    assert played(reference, 1, 40.0) == pytest.approx(power(2_000))


def test_what_is_not_known_is_silent() -> None:
    reference = sent()
    assert reference.played(None, 20.0) is None
    assert reference.played(7, 20.0) is None
    assert played(reference, 1, 1_000.0) == 0
    reference.sent(AudioMessage(1, 1_440, b"", last=True))


def test_the_next_response_begins_at_its_start() -> None:
    reference = sent()
    played(reference, 1, 60.0)
    reference.sent(message(0, 3_000, number=2))
    assert played(reference, 2, 20.0) == pytest.approx(power(3_000))


def test_only_the_latest_responses_are_kept() -> None:
    reference = sent()
    for number in (2, 3):
        reference.sent(message(0, 500, number=number))
    assert reference.played(1, 20.0) is None


@pytest.mark.parametrize(("rate", "size"), [(16_000, 320), (24_000, 480)])
def test_a_tone_has_its_power_in_its_band_at_both_rates(rate: int, size: int) -> None:
    tone = np.sin(2 * np.pi * 1_500 * np.arange(size) / rate).astype(np.float32)
    found = bands(tone)
    assert found[3] == pytest.approx(0.5, rel=0.05)
    assert found.sum() == pytest.approx(found[3], rel=0.01)
