"""Levels of blocks of 10 ms, whatever the size of the pieces."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.media.levels import BLOCK, KEPT, Levels
from realtime.media.speech import FLOOR_DB, level_db
from tests.realtime.voices import noise


@pytest.mark.parametrize("piece", [1, 77, 160, 320, 5_000])
def test_pieces_of_any_size_give_the_same_levels(piece: int):
    sound, levels, found = noise(0.4, 1_000.0), Levels(), []
    for start in range(0, len(sound), piece):
        found += levels.feed(sound[start : start + piece])
    wanted = [level_db(sound[start : start + BLOCK]) for start in range(0, len(sound), BLOCK)]
    assert found == pytest.approx(wanted, abs=1e-3)
    assert levels.position == len(sound)
    assert 10 * np.log10(levels.powers[-len(wanted) :]) == pytest.approx(wanted, abs=1e-3)


def test_only_the_last_second_is_kept():
    levels = Levels()
    levels.feed(noise(3.0, 1_000.0))
    assert levels.powers.shape == (KEPT,)
    assert levels.powers.min() > 1e-5


def test_silence_has_a_level():
    assert Levels().feed(np.zeros(BLOCK, np.int16)) == pytest.approx([FLOOR_DB])
