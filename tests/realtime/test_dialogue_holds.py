"""Sounds over the assistant, as the client and the session see them."""

from __future__ import annotations

import numpy as np

from realtime import events
from realtime.floor.interruption import Sign, Sounding
from realtime.floor.rules import FloorState
from realtime.floor.stop_words import StopWords
from realtime.media.decoder import Samples
from realtime.media.hearing import Edge, Surroundings
from tests.realtime.test_dialogue import Scene, unit

USUAL = Sounding(-26.0, -8.0)


def talking() -> tuple[Scene, str]:
    """The assistant has been speaking for 250 ms to somebody whose level is known; its first word lasts 300 ms."""
    scene = Scene()
    scene.dialogue.edge(Edge(True, 0, 0.0, USUAL), 0.0)
    scene.dialogue.unit(unit(0), 1.0)
    scene.dialogue.edge(Edge(False, 16_000, 1.0), 1.0)
    scene.dialogue.tick(2.0)
    response_id = str(scene.session.said[-1][1])
    scene.speech(response_id, 2.0)
    for played_ms in (50, 150, 250):
        scene.ack(response_id, played_ms, 2.0 + played_ms / 1000)
    return scene, response_id


def test_a_hold_for_nothing_says_the_word_again_in_which_it_fell_silent() -> None:
    scene, response_id = talking()
    scene.dialogue.sign(Sign(-28.0, 0.5, hiss=False), 2.26)
    assert scene.told[-1] == events.OutputPaused(event_id=scene.told[-1].event_id, response_id=response_id)
    scene.ack(response_id, 260, 2.3)
    scene.dialogue.tick(2.45)
    resumed = scene.told[-1]
    assert isinstance(resumed, events.OutputResumed)
    assert resumed.from_ms == 0
    assert scene.dialogue.speaking.playout.playing_ms(response_id, 2.45) == 0
    assert scene.dialogue.speaking.playout.heard_ms(response_id, 2.45) == 260


def test_what_was_heard_before_a_word_was_said_again_is_kept() -> None:
    scene, response_id = talking()
    scene.dialogue.sign(Sign(-28.0, 0.5, hiss=False), 2.26)
    scene.ack(response_id, 260, 2.3)
    scene.dialogue.tick(2.45)
    scene.dialogue.stop(2.5)
    scene.ack(response_id, 50, 2.55, final=True)
    assert scene.session.said[-1] == ("cancel", (response_id, 260))


def test_a_sign_counts_only_while_the_assistant_speaks() -> None:
    scene = Scene()
    scene.dialogue.sign(Sign(-28.0, 0.9, hiss=False), 0.5)
    assert scene.told == []


def test_a_persons_word_in_the_midst_of_another_voice_keeps_the_second_in_which_it_began() -> None:
    """A far voice goes on since long ago; the person joins right after a unit was closed."""
    scene, response_id = talking()
    scene.dialogue.edge(Edge(True, 33_600, 2.1, Sounding(-45.0, -8.0)), 2.3)
    scene.dialogue.unit(unit(2), 3.0)
    scene.dialogue.sounding(USUAL, 3.05)
    assert scene.dialogue.state == FloorState.HOLDING
    before = len(scene.session.names())
    scene.dialogue.unit(unit(3), 4.0)
    scene.dialogue.tick(4.0)
    scene.ack(response_id, 300, 4.1, final=True)
    assert scene.session.names()[before:] == ["cancel", "prefill", "prefill"]


class Knows:
    """A spotter that always hears a stop word."""

    def begin(self) -> None: ...

    def feed(self, samples: Samples) -> bool | None:
        return True


def test_a_spotted_stop_word_cuts_the_reply() -> None:
    scene, _ = talking()
    scene.dialogue.stop_words = StopWords(Knows())
    scene.dialogue.frame(np.zeros(320, np.int16), 2.25)
    assert scene.dialogue.state == FloorState.SPEAKING
    scene.dialogue.edge(Edge(True, 35_000, 2.2, Sounding(-33.0, -8.0)), 2.26)
    scene.dialogue.frame(np.zeros(320, np.int16), 2.27)
    assert scene.types()[-1] in ("output_audio_buffer.cleared", "input_audio_buffer.speech_started")
    assert scene.dialogue.state == FloorState.YIELDING


def test_where_it_is_too_loud_tap_to_talk_is_offered_once() -> None:
    scene, _ = talking()
    for second in range(20):
        scene.dialogue.surroundings(Surroundings(-27.0, -60.0), 3.0 + second)
    offers = [event for event in scene.told if isinstance(event, events.SessionDegraded)]
    assert [offer.reason for offer in offers] == ["hands_free"]
