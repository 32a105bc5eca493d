"""Level and brightness of a voice, also in noise."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.floor.interruption import Sign, Sounding
from realtime.media.bands import bands
from realtime.media.decoder import Samples
from realtime.media.speech import level_db
from realtime.media.voice_meter import VoiceMeter, has_two_beats
from tests.realtime.voices import noise, sentence, tone

FRAME = 320


def measured(samples: Samples, *, noise_rms: float = 0.0) -> Sounding:
    """What the meter says at the end of `samples`, after a second of the room."""
    meter, found = VoiceMeter(), None
    room = noise(1.0 + len(samples) / 16_000, noise_rms)
    line = room.copy()
    line[16_000 : 16_000 + len(samples)] += samples
    for start in range(0, 16_000 + len(samples) - FRAME + 1, FRAME):
        found = meter.feed(line[start : start + FRAME], start >= 16_000 + 2 * FRAME)
    assert found is not None
    return found


def test_a_tone_has_its_level() -> None:
    sound = measured(tone(0.5, 200.0))
    assert sound.level_db == pytest.approx(level_db(tone(0.5, 200.0)), abs=0.3)


@pytest.mark.parametrize("below_db", [20, 10, 5])
def test_noise_is_taken_off(below_db: float) -> None:
    voice = sentence("what colour do you see")
    rms = 32768 * 10 ** ((level_db(voice) - below_db) / 20)
    clean, noisy = measured(voice), measured(voice, noise_rms=rms)
    assert noisy.level_db == pytest.approx(clean.level_db, abs=1.7)


def test_a_hiss_is_bright_and_a_voice_is_not() -> None:
    assert measured(noise(0.5, 3_000.0)).bright_db > 0
    assert measured(sentence("no")).bright_db < -4


def test_gaps_in_a_voice_do_not_lower_it() -> None:
    voice = tone(0.4, 200.0)
    gap = np.zeros(3_200, np.int16)
    assert measured(np.concatenate((voice, gap, voice))).level_db == pytest.approx(measured(voice).level_db, abs=0.5)


def test_agreement_has_two_beats_and_a_word_has_one() -> None:
    beat, gap = np.full(8, 1.0), np.full(4, 0.05)
    assert has_two_beats(np.concatenate((beat, gap, beat)))
    assert has_two_beats(np.concatenate((beat, gap, 0.3 * beat)))
    assert not has_two_beats(np.concatenate((beat, gap, 0.1 * beat)))
    assert not has_two_beats(np.concatenate((beat, gap, 0.5 * beat[:1])))
    assert not has_two_beats(np.linspace(1, 0.01, 20))
    assert not has_two_beats(beat)


def test_there_is_nothing_to_tell_of_a_quiet_room() -> None:
    assert VoiceMeter().feed(noise(0.02, 30.0), False) is None


def sign_of(line: Samples, probability: float) -> Sign | None:
    """The meter's first sign at the end of `line`, after a second of the room."""
    meter = VoiceMeter()
    samples = np.concatenate((noise(1.0, 30.0), line))
    for start in range(0, len(samples) - FRAME + 1, FRAME):
        meter.feed(samples[start : start + FRAME], False)
    return meter.sign(probability)


def test_a_window_that_may_be_a_voice_is_a_sign_with_its_level() -> None:
    found = sign_of(tone(0.06, 200.0), 0.5)
    assert found is not None
    assert not found.hiss
    assert found.level_db == pytest.approx(level_db(tone(0.06, 200.0)), abs=0.5)


def test_a_hiss_is_a_sign_whatever_the_detector_says() -> None:
    found = sign_of(noise(0.06, 3_000.0), 0.0)
    assert found is not None
    assert found.hiss


def test_the_room_and_an_unlikely_sound_are_no_sign() -> None:
    assert sign_of(tone(0.06, 200.0), 0.0) is None
    still = sign_of(noise(0.06, 30.0), 0.0)
    assert still is None or still.level_db < -60
    assert VoiceMeter().sign(1.0) is None


def test_the_echo_of_what_is_played_is_no_voice() -> None:
    """The assistant's own words, 100 ms late and 10 dB softer: next to nothing is left of them."""
    loud = np.concatenate([sentence("what colour do you see"), np.zeros(4_000, np.int16)] * 4)
    late = np.concatenate((np.zeros(1_600), 0.3 * loud))[: len(loud)].astype(np.int16) + noise(len(loud) / 16_000, 5.0)
    plain, levels, own = VoiceMeter(), [], []
    meter = VoiceMeter()
    for start in range(0, len(loud) - FRAME + 1, FRAME):
        played = bands(loud[start : start + FRAME].astype(np.float32) / np.float32(32768))
        mine = meter.feed(late[start : start + FRAME], True, played)
        without = plain.feed(late[start : start + FRAME], True)
        assert mine is not None
        assert without is not None
        assert mine.sure_db is not None
        levels.append(without.level_db - mine.sure_db)
        own.append(mine.own_db)
        assert mine.maybe_echo
        assert not without.maybe_echo
        assert mine.like_echo or start < 120 * FRAME
    assert min(levels[120:]) > 8
    assert max(own[120:]) < -6


def over_the_assistant(word: Samples, *, after_s: float, echo: float) -> Sounding:
    """What the meter says at the end of a word that is said over the assistant, 100 ms behind which its echo comes."""
    loud = np.concatenate([sentence("what colour do you see"), np.zeros(4_000, np.int16)] * 4)
    line = np.concatenate((np.zeros(1_600), echo * loud))[: len(loud)] + noise(len(loud) / 16_000, 5.0)
    start, end = round(after_s * 16_000), round(after_s * 16_000) + len(word)
    line[start:end] += word
    meter, found = VoiceMeter(), None
    for at in range(0, end + 10 * FRAME, FRAME):
        played = bands(loud[at : at + FRAME].astype(np.float32) / np.float32(32768))
        found = meter.feed(line[at : at + FRAME].astype(np.int16), at >= start - FRAME, played if at < end else None)
    assert found is not None
    return found


@pytest.mark.parametrize("after_s", [0.8, 3.0])
@pytest.mark.parametrize("echo", [0.0, 0.3])
def test_a_word_over_the_assistant_keeps_its_level_and_is_no_echo(after_s: float, echo: float) -> None:
    """Whether or not it is known yet that there is an echo, or that there is none."""
    word = sentence("stop")
    sound = over_the_assistant(word, after_s=after_s, echo=echo)
    undecided_db = 3.0 if not echo and after_s < 1.2 else 0.0
    assert sound.level_db + undecided_db == pytest.approx(measured(word).level_db, abs=2.0)
    assert not sound.like_echo
    assert sound.sure_db is not None
    assert sound.sure_db <= sound.level_db + 0.5


def test_the_first_echo_is_like_the_assistant() -> None:
    loud = np.concatenate([sentence("what colour do you see"), np.zeros(4_000, np.int16)])
    late = np.concatenate((np.zeros(1_600), 0.3 * loud))[: len(loud)].astype(np.int16) + noise(len(loud) / 16_000, 5.0)
    meter, found = VoiceMeter(), []
    for at in range(0, 50 * FRAME, FRAME):
        played = bands(loud[at : at + FRAME].astype(np.float32) / np.float32(32768))
        heard = late[at : at + FRAME] if at < 30 * FRAME else noise(0.02, 5.0)
        found.append(meter.feed(heard, True, played if at < 25 * FRAME else None))
    assert all(each is not None and each.maybe_echo and each.like_echo for each in found[10:])


def test_a_voice_tells_for_how_long_it_has_been_gone() -> None:
    meter, gaps = VoiceMeter(), []
    line = np.concatenate((tone(0.4, 200.0), noise(0.5, 5.0)))
    for start in range(0, len(line) - FRAME + 1, FRAME):
        found = meter.feed(line[start : start + FRAME], True)
        assert found is not None
        gaps.append(found.gap_ms)
    assert gaps[10] == 0
    assert gaps[-1] >= 300


def test_digital_silence_that_is_called_a_voice_has_no_level() -> None:
    assert VoiceMeter().feed(np.zeros(FRAME, np.int16), True) == Sounding(-96, 0)
