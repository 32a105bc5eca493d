"""What a sound over the assistant means, as a table."""

from __future__ import annotations

import pytest

from realtime.floor.interruption import Meaning, Sounding, UsualLevel

VOICE_DB, COUGH_DB = -8.0, -1.0


def somebody(level_db: float = -26.0) -> UsualLevel:
    usual = UsualLevel()
    usual.learn(Sounding(level_db, VOICE_DB))
    return usual


@pytest.mark.parametrize(
    ("ms", "above_db", "bright_db", "meaning"),
    [
        (250, 0, VOICE_DB, Meaning.WANTS_FLOOR),
        (250, -2, VOICE_DB, Meaning.UNCLEAR),
        (250, 3, COUGH_DB, Meaning.UNCLEAR),
        (1_300, -5, VOICE_DB, Meaning.WANTS_FLOOR),
        (1_300, 3, COUGH_DB, Meaning.NOT_THE_PERSON),
        (250, -12, VOICE_DB, Meaning.NOT_THE_PERSON),
        (5_000, -12, VOICE_DB, Meaning.NOT_THE_PERSON),
    ],
)
def test_meanings(ms: float, above_db: float, bright_db: float, meaning: Meaning):
    assert somebody().meaning(Sounding(-26 + above_db, bright_db), lasted_ms=ms) is meaning


@pytest.mark.parametrize(
    ("above_db", "bright_db", "two_beats", "meaning"),
    [
        (-2, VOICE_DB, False, Meaning.WANTS_FLOOR),
        (-2, VOICE_DB, True, Meaning.UNCLEAR),
        (2, VOICE_DB, True, Meaning.WANTS_FLOOR),
        (-7.8, VOICE_DB, False, Meaning.WANTS_FLOOR),
        (-7.6, VOICE_DB, True, Meaning.UNCLEAR),
        (-8.2, VOICE_DB, False, Meaning.UNCLEAR),
        (2, COUGH_DB, False, Meaning.UNCLEAR),
    ],
)
def test_meanings_of_a_short_sound_that_is_over(above_db: float, bright_db: float, two_beats: bool, meaning: Meaning):
    sounding = Sounding(-26 + above_db, bright_db, two_beats)
    assert somebody().meaning(sounding, over=True) is meaning


def test_without_any_knowledge_the_assistant_yields():
    assert UsualLevel().meaning(None) is Meaning.WANTS_FLOOR
    assert UsualLevel().meaning(Sounding(-60, VOICE_DB)) is Meaning.WANTS_FLOOR


def test_where_an_echo_may_be_a_soft_short_sound_is_no_word():
    assert somebody().meaning(Sounding(-33, VOICE_DB, maybe_echo=True), over=True) is Meaning.UNCLEAR


@pytest.mark.parametrize(("own_db", "meaning"), [(-5.0, Meaning.WANTS_FLOOR), (-7.0, Meaning.NOT_THE_PERSON)])
def test_of_somebody_unknown_what_is_nearly_all_echo_is_nobody(own_db: float, meaning: Meaning):
    sounding = Sounding(-30, VOICE_DB, maybe_echo=True, own_db=own_db)
    assert UsualLevel().meaning(sounding, lasted_ms=250) is meaning
    assert somebody(-30.0).meaning(sounding, lasted_ms=250) is Meaning.WANTS_FLOOR


def test_what_died_out_like_an_echo_is_known_the_next_time():
    usual, echo = UsualLevel(), Sounding(-30, VOICE_DB, maybe_echo=True, own_db=-5.5)
    usual.was_echo(echo)
    assert usual.meaning(echo, lasted_ms=250) is Meaning.NOT_THE_PERSON
    usual.was_echo(Sounding(-30, VOICE_DB, maybe_echo=True, own_db=-3.0))
    assert usual.meaning(Sounding(-30, VOICE_DB, maybe_echo=True, own_db=-3.1)) is not Meaning.NOT_THE_PERSON


def test_the_usual_level_follows_the_person():
    usual = somebody(-40)
    for _ in range(20):
        usual.learn(Sounding(-26, VOICE_DB))
    assert usual.db == pytest.approx(-26, abs=0.1)
