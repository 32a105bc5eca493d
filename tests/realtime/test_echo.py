"""Echo by levels: found where there is one, at its level, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.media.echo import MARGIN, EchoModel

FRAMES = 500


def speech(seed: int) -> NDArray[np.float64]:
    """Powers of frames that rise and fall like syllables, with pauses."""
    rng = np.random.default_rng(seed)
    syllables = np.repeat(rng.exponential(1.0, FRAMES // 8 + 1), 8)[:FRAMES]
    return np.asarray(0.01 * syllables * (np.repeat(rng.random(FRAMES // 40 + 1), 40)[:FRAMES] > 0.2))


def heard(played: NDArray[np.float64], *, lag: int, gain_db: float, noise: float = 1e-6) -> NDArray[np.float64]:
    return np.concatenate((np.zeros(lag), played))[: len(played)] * 10 ** (gain_db / 10) + noise


def run(microphone: NDArray[np.float64], played: NDArray[np.float64]) -> tuple[EchoModel, NDArray[np.float64]]:
    model = EchoModel()
    return model, np.array([model.feed(float(a), float(b)) for a, b in zip(microphone, played, strict=True)])


@pytest.mark.parametrize("lag", [1, 5, 20])
@pytest.mark.parametrize("gain_db", [-6.0, -20.0])
def test_an_echo_is_found_and_covered(lag: int, gain_db: float):
    played = speech(1)
    microphone = heard(played, lag=lag, gain_db=gain_db)
    model, expected = run(microphone, played)
    assert model.coupling_db == pytest.approx(gain_db, abs=4)
    late = slice(200, None)
    loud = microphone[late] > 0.1 * microphone.max()
    assert np.mean(expected[late][loud] >= 0.5 * microphone[late][loud]) > 0.9


def test_somebody_who_speaks_at_the_same_time_is_no_echo():
    model, expected = run(speech(2), speech(1))
    assert model.coupling_db is None
    assert not expected.any()


def test_a_word_over_the_echo_does_not_make_it_louder():
    played = speech(1)
    microphone = heard(played, lag=5, gain_db=-20)
    before = run(microphone, played)[0].coupling_db
    microphone[-30:] += 0.05
    after = run(microphone, played)[0].coupling_db
    assert before is not None
    assert after == pytest.approx(before, abs=2)


def test_without_an_echo_nothing_is_taken_off():
    model, expected = run(np.full(FRAMES, 1e-6), np.zeros(FRAMES))
    assert model.coupling_db is None
    assert not expected.any()


def test_the_margin_is_kept():
    played = speech(3)
    microphone = heard(played, lag=3, gain_db=-10)
    model, expected = run(microphone, played)
    assert model.coupling_db is not None
    assert expected.max() <= 3 * MARGIN * 10 ** (model.coupling_db / 10) * played.max()
