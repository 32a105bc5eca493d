"""Echo by bands: found where there is one, at its level, followed when it changes, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.media.bands import BANDS
from realtime.media.echo import EchoModel

FRAMES = 400
ROOM = 1e-7
COLOUR = np.array([0.3, 1.0, 1.5, 0.8, 0.5, 0.3, 0.1])

Table = NDArray[np.float64]


def speech(seed: int, frames: int = FRAMES) -> Table:
    """Bands of frames that rise and fall like syllables, each with a colour of its own, with pauses."""
    rng = np.random.default_rng(seed)
    syllables = np.repeat(rng.exponential(1.0, (frames // 8 + 1, BANDS)), 8, axis=0)[:frames]
    pauses = np.repeat(rng.random(frames // 40 + 1) > 0.2, 40)[:frames]
    return np.asarray(0.01 * syllables * pauses[:, None])


def echo_of(played: Table, *, lag: int, gain_db: float, colour: Table = COLOUR) -> Table:
    late = np.concatenate((np.zeros((lag, BANDS)), played))[: len(played)]
    return np.asarray(late * colour * 10 ** (gain_db / 10) + ROOM)


def run(heard: Table, played: Table, model: EchoModel | None = None) -> tuple[EchoModel, Table]:
    model, expected = model or EchoModel(), []
    for mine, its in zip(heard, played, strict=True):
        model.plays(its)
        expected.append(np.zeros(BANDS) if model.idle else model.feed(mine))
    return model, np.array(expected)


def left(heard: Table, expected: Table) -> float:
    """The share of the power that is no echo."""
    return float(np.maximum(heard - expected, 0).sum() / heard.sum())


@pytest.mark.parametrize("lag", [0, 1, 5, 20])
@pytest.mark.parametrize("gain_db", [-6.0, -20.0])
def test_an_echo_is_found_within_a_second_and_taken_off(lag: int, gain_db: float) -> None:
    played = speech(1)
    heard = echo_of(played, lag=lag, gain_db=gain_db)
    model, expected = run(heard, played)
    assert model.lag_ms is not None
    assert abs(model.lag_ms - 20 * lag) <= 20
    assert left(heard[60:], expected[60:]) < 0.05


def test_a_voice_over_the_echo_gets_through() -> None:
    played, voice = speech(1), speech(2)
    heard = echo_of(played, lag=5, gain_db=-10)
    model, _ = run(heard[:300], played[:300])
    both = heard[300:] + voice[300:]
    _, expected = run(both, played[300:], model)
    clear = voice[300:].sum(axis=1) > 8 * heard[300:].sum(axis=1)
    assert np.count_nonzero(clear) > 20
    first = slice(0, 30)
    assert left(both[clear][first], expected[clear][first]) > 0.3


def test_somebody_else_is_no_echo() -> None:
    model, expected = run(speech(2), speech(1))
    assert model.lag_ms is None
    assert model.level_db is None
    assert not model.undecided
    assert not expected.any()


def test_it_is_undecided_until_the_assistant_has_sounded_for_a_while() -> None:
    model, _ = run(speech(2)[:30], speech(1)[:30])
    assert model.undecided
    assert EchoModel().undecided


@pytest.mark.parametrize("speaking", [True, False])
def test_a_first_burst_of_echo_is_learned_from_when_it_has_died_out(speaking: bool) -> None:
    """A third of a second of speech, then silence: where the echo ends says when it comes."""
    burst = speech(1)[:60]
    burst[16:] = 0
    heard = echo_of(burst, lag=8, gain_db=-10)
    model = EchoModel()
    for mine, its in zip(heard, burst, strict=True):
        model.plays(its if its.any() else None)
        if not model.idle:
            model.feed(mine, speaking=speaking)
    assert (model.lag_ms is None) == speaking
    assert speaking or abs(model.lag_ms - 160) <= 20


def test_there_may_be_echo_until_it_is_known_that_there_is_none() -> None:
    played = speech(1)
    assert not EchoModel().possible
    assert run(speech(2)[:30], played[:30])[0].possible
    assert not run(speech(2), played)[0].possible
    assert run(echo_of(played, lag=5, gain_db=-10), played)[0].possible


def test_the_level_of_the_echo_is_known() -> None:
    played = speech(1)
    model, _ = run(echo_of(played, lag=5, gain_db=-20, colour=np.ones(BANDS)), played)
    sounding = played[played.sum(axis=1) > 0.03 * played.sum(axis=1).max()]
    assert model.level_db is not None
    assert model.level_db == pytest.approx(10 * np.log10(sounding.sum(axis=1).mean()) - 20, abs=3)


def test_an_echo_that_becomes_louder_is_followed() -> None:
    played = speech(1)
    heard = echo_of(played, lag=5, gain_db=-20)
    heard[200:] *= 8
    _, expected = run(heard, played)
    assert left(heard[260:], expected[260:]) < 0.05


@pytest.mark.parametrize("ppm", [-150, 150])
def test_a_drifting_clock_is_followed(ppm: int) -> None:
    """Two minutes at 150 ppm and a delay that grows by as much a hundred times faster."""
    frames = 3_000
    played = speech(3, frames)
    times = np.arange(frames) * (1 - 100e-6 * ppm / 10) - 12
    heard = np.array([played[int(at)] if 0 <= at < frames else np.zeros(BANDS) for at in times]) * 0.05 + ROOM
    model, expected = run(heard, played)
    assert model.lag_ms is not None
    assert left(heard[200:], expected[200:]) < 0.15


def test_a_word_of_the_person_does_not_make_the_echo_louder() -> None:
    played = speech(1)
    heard = echo_of(played, lag=5, gain_db=-20)
    before = run(heard, played)[0].level_db
    heard[-20:] += 0.05
    after = run(heard, played)[0].level_db
    assert before is not None
    assert after == pytest.approx(before, abs=2)


def test_while_nobody_plays_anything_it_rests() -> None:
    model = EchoModel()
    assert model.idle
    model.plays(np.full(BANDS, 0.01))
    assert not model.idle
    for _ in range(60):
        model.plays(None)
    assert model.idle
