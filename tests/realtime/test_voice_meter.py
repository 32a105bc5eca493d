"""Level and brightness of a voice, also in noise."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.interruption import Sounding
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


def test_a_tone_has_its_level():
    sound = measured(tone(0.5, 200.0))
    assert sound.level_db == pytest.approx(level_db(tone(0.5, 200.0)), abs=0.3)


@pytest.mark.parametrize("below_db", [20, 10, 5])
def test_noise_is_taken_off(below_db: float):
    voice = sentence("what colour do you see")
    rms = 32768 * 10 ** ((level_db(voice) - below_db) / 20)
    clean, noisy = measured(voice), measured(voice, noise_rms=rms)
    assert noisy.level_db == pytest.approx(clean.level_db, abs=1.7)


def test_a_hiss_is_bright_and_a_voice_is_not():
    assert measured(noise(0.5, 3_000.0)).bright_db > 0
    assert measured(sentence("no")).bright_db < -4


def test_gaps_in_a_voice_do_not_lower_it():
    voice = tone(0.4, 200.0)
    gap = np.zeros(3_200, np.int16)
    assert measured(np.concatenate((voice, gap, voice))).level_db == pytest.approx(measured(voice).level_db, abs=0.5)


def test_agreement_has_two_beats_and_a_word_has_one():
    beat, gap = np.full(8, 1.0), np.full(4, 0.05)
    assert has_two_beats(np.concatenate((beat, gap, beat)))
    assert has_two_beats(np.concatenate((beat, gap, 0.3 * beat)))
    assert not has_two_beats(np.concatenate((beat, gap, 0.1 * beat)))
    assert not has_two_beats(np.concatenate((beat, gap, 0.5 * beat[:1])))
    assert not has_two_beats(np.linspace(1, 0.01, 20))
    assert not has_two_beats(beat)


def test_there_is_nothing_to_tell_of_a_quiet_room():
    assert VoiceMeter().feed(noise(0.02, 30.0), False) is None


def test_digital_silence_that_is_called_a_voice_has_no_level():
    assert VoiceMeter().feed(np.zeros(FRAME, np.int16), True) == Sounding(-96, 0)
