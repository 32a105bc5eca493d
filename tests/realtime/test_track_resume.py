"""A client that hears an Opus track and reports nothing: a hold goes on at the beginning of the cut word there, too."""

from __future__ import annotations

import numpy as np

from model_server.protocol import Speech, WordMark
from realtime import events
from realtime.connection.frames import AudioMessage
from realtime.events import ServerEvent
from realtime.output.playout import Playout
from realtime.output.speaking import Speaking

WORDS = [WordMark(0, 5, 0, 300), WordMark(6, 10, 350, 700), WordMark(11, 15, 700, 1_000)]
SOUND = (8_000 * np.sin(np.arange(24_000) / 9)).astype("<i2").tobytes()


class OnTrack:
    """A second of speech, three words long."""

    def __init__(self) -> None:
        self.told: list[ServerEvent] = []
        self.sent: list[AudioMessage] = []
        self.speaking = Speaking(self.told.append, self.sent.append, lambda number: None, lambda: Playout(mode="track"))
        self.speaking.begin("resp", "item", 1, 0.0)
        self.speaking.speech(Speech(response_id="resp", position=0, pcm=SOUND, marks=WORDS, text_span=(0, 15)), 0.0)

    def run(self, start: float, end: float) -> None:
        for step in range(round(100 * (end - start))):
            self.speaking.pump(start + step / 100)


def test_a_hold_goes_on_at_the_beginning_of_the_word_that_was_cut() -> None:
    track = OnTrack()
    track.run(0.0, 0.6)
    track.speaking.pause("resp", 0.6)
    track.run(0.6, 1.0)
    held = len(track.sent)
    track.speaking.resume("resp", 1.0)
    track.run(1.0, 1.02)
    resumed = next(event for event in track.told if isinstance(event, events.OutputResumed))
    assert resumed.from_ms == 350
    assert track.sent[held].position == 350 * 24
    assert track.sent[held].pcm[:2] == b"\0\0"


def test_the_echo_of_a_word_that_is_said_again_is_known_again() -> None:
    track = OnTrack()
    track.run(0.0, 0.6)
    assert track.speaking.played(0.6) is not None
    track.speaking.pause("resp", 0.6)
    assert track.speaking.played(0.9) is None
    track.speaking.resume("resp", 1.0)
    track.run(1.0, 1.3)
    assert track.speaking.played(1.3) is not None
