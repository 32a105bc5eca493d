"""A live microphone that delivers only zeros is noticed, a filled gap is not blamed on it."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.media.receive import AudioFrame, FrameKind
from realtime.media.silent_input import SILENT_AFTER, SilentInput

FRAME = 320
FRAMES = SILENT_AFTER // FRAME


def feed(
    detector: SilentInput, value: int, frames: int = 1, kind: FrameKind = FrameKind.RECEIVED
) -> list[tuple[int, bool]]:
    """What changed, and with which frame."""
    samples = np.full(FRAME, value, dtype=np.int16)
    said = [(number, detector.feed(AudioFrame(0, samples, kind))) for number in range(frames)]
    return [(number, silent) for number, silent in said if silent is not None]


def test_three_seconds_of_zeros_are_said_once_and_so_is_the_return() -> None:
    detector = SilentInput()
    assert feed(detector, 0, 2 * FRAMES) == [(FRAMES - 1, True)]
    assert feed(detector, 500) == [(0, False)]
    assert feed(detector, 500, 10) == []
    assert feed(detector, 0, FRAMES) == [(FRAMES - 1, True)]


@pytest.mark.parametrize("value", [1, -2])
def test_what_opus_makes_of_zeros_counts_as_zero(value: int) -> None:
    assert feed(SilentInput(), value, FRAMES) == [(FRAMES - 1, True)]


def test_the_quietest_room_is_not_silent() -> None:
    assert feed(SilentInput(), 3, 2 * FRAMES) == []


@pytest.mark.parametrize("kind", [FrameKind.SILENCE, FrameKind.CONCEALED])
def test_filled_frames_neither_count_nor_break_the_count(kind: FrameKind) -> None:
    detector = SilentInput()
    assert feed(detector, 0, 2 * FRAMES, kind) == []
    feed(detector, 0, FRAMES - 1)
    feed(detector, 900, 5, kind)
    assert feed(detector, 0) == [(0, True)]
