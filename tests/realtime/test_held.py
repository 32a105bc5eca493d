"""What waits while a reply is spoken: speech always, silence never, the newest picture once."""

from __future__ import annotations

import numpy as np

from model_server.protocol import TextItem
from realtime.dialogue.held import HeldUnits
from realtime.media.units import CutUnit


def unit(second: int, *, voiced: bool = False, picture: bytes | None = None) -> CutUnit:
    samples = np.zeros(16_000, np.int16)
    pictures = [picture] if picture else []
    return CutUnit(second * 16_000, samples, samples.tobytes(), pictures, voiced=voiced)


def starts(waiting: list[object]) -> list[int]:
    return [item.start // 16_000 for item in waiting if isinstance(item, CutUnit)]


def test_everything_passes_while_nothing_is_held():
    held = HeldUnits()
    first = unit(0)
    assert held.offer(first) == [first]


def test_silent_seconds_are_dropped_and_speech_is_kept_in_order():
    held = HeldUnits()
    held.hold()
    for second, voiced in enumerate([False, True, False, False, True, True]):
        assert held.offer(unit(second, voiced=voiced)) == []
    assert held.speech_units == 3
    assert starts(held.release()) == [1, 4, 5]
    assert held.dropped == 3


def test_the_silent_second_before_an_onset_stays_when_it_holds_the_first_word():
    held = HeldUnits()
    held.hold()
    held.offer(unit(0))
    held.offer(unit(1))
    held.voice_from(2 * 16_000 + 3_000)
    held.offer(unit(2, voiced=True))
    released = held.release()
    assert starts(released) == [1, 2]
    assert all(item.voiced for item in released if isinstance(item, CutUnit))


def test_an_onset_late_in_a_second_leaves_the_silence_before_it_dropped():
    held = HeldUnits()
    held.hold()
    held.offer(unit(1))
    held.voice_from(2 * 16_000 + 5_000)
    held.offer(unit(2, voiced=True))
    assert starts(held.release()) == [2]


def test_the_newest_picture_survives_the_silence_it_came_with():
    held = HeldUnits()
    held.hold()
    held.offer(unit(0, voiced=True, picture=b"old"))
    held.offer(unit(1, picture=b"new"))
    held.offer(unit(2))
    released = held.release()
    assert released[-1].pictures == [b"new"]  # type: ignore[union-attr]


def test_typed_words_wait_in_their_place():
    held = HeldUnits()
    held.hold()
    held.offer(unit(0, voiced=True))
    held.offer(TextItem(text="hello"))
    held.offer(unit(1, voiced=True))
    assert [type(item).__name__ for item in held.release()] == ["CutUnit", "TextItem", "CutUnit"]


def test_after_release_nothing_is_held():
    held = HeldUnits()
    held.hold()
    held.offer(unit(0, voiced=True))
    held.release()
    assert held.release() == []
    assert len(held.offer(unit(1))) == 1
