"""The keyword spotter's place: what it hears, and that its word counts."""

from __future__ import annotations

import numpy as np

from realtime.floor.stop_words import PRE_ROLL_SAMPLES, StopWords
from realtime.media.decoder import Samples


class Scripted:
    """Answers `word` when it has heard a sample of `key`."""

    def __init__(self, key: int, word: bool) -> None:
        self.heard: list[int] = []
        self.sounds = 0
        self._key, self._word = key, word

    def begin(self) -> None:
        self.sounds += 1
        self.heard.clear()

    def feed(self, samples: Samples) -> bool | None:
        self.heard.append(int(samples[0]))
        return self._word if self._key in samples else None


def frame(number: int) -> Samples:
    return np.full(320, number, np.int16)


def test_it_hears_what_was_said_from_a_little_before_the_hold_on() -> None:
    spotter = Scripted(key=55, word=True)
    words = StopWords(spotter)
    assert all(words.feed(frame(number), held=False) is None for number in range(50))
    answers = [words.feed(frame(number), held=True) for number in range(50, 60)]
    assert answers == [None] * 5 + [True] + [None] * 4
    assert spotter.heard == list(range(50 - PRE_ROLL_SAMPLES // 320, 56))


def test_every_hold_is_another_sound() -> None:
    spotter = Scripted(key=3, word=False)
    words = StopWords(spotter)
    for _ in range(2):
        words.feed(frame(1), held=False)
        assert words.feed(frame(3), held=True) is False
        assert words.feed(frame(3), held=True) is None
    assert spotter.sounds == 2


def test_a_word_that_was_over_before_the_hold_is_known_at_once() -> None:
    words = StopWords(Scripted(key=7, word=True))
    words.feed(frame(7), held=False)
    assert words.feed(frame(8), held=True) is True
