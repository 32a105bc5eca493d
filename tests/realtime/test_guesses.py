"""Replies begun before the turn is over, and turns taken back: what reaches the model and the client of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from model_server import protocol
from model_server.protocol import TextItem
from realtime import events
from realtime.floor.rules import FloorState
from realtime.media.hearing import Edge
from tests.realtime.dialogue_scene import RATE, Scene

PAUSES = [[0.4] * 10, [0.28, 0.55, 0.58, 0.32], [0.52, 0.02, 0.48]]


@pytest.mark.parametrize("pauses", PAUSES)
def test_wrong_guesses_leave_no_trace(pauses: list[float]):
    guessing, waiting = Scene(), Scene(spare=False)
    for scene in (guessing, waiting):
        scene.pass_time(1.1)
        for number, pause in enumerate(pauses):
            scene.cutter.picture(f"picture {number}".encode())
            scene.speak(0.46, pause=pause)
        scene.speak(0.5)
    assert len(guessing.session.discarded) == len(guessing.session.speculative) == sum(pause > 0.24 for pause in pauses)
    assert guessing.session.units == waiting.session.units
    assert guessing.types() == waiting.types() == ["input_audio_buffer.speech_started"]
    assert guessing.count("discarded") == len(guessing.session.discarded)
    assert waiting.session.speculative == []
    # And when the turn is over at last, it is answered as a whole.
    guessing.pass_time(0.7)
    assert b"".join(audio for audio, _ in guessing.session.units).startswith(
        guessing.samples(guessing.position - 10_000)
    )
    assert guessing.session.wanted == []
    assert guessing.told_ids() == guessing.session.speculative[-1:]


def test_a_guess_that_holds_speaks_the_moment_the_turn_is_over():
    scene = Scene()
    scene.speak(1.0, pause=0.4)
    (guess,) = scene.session.speculative
    scene.says(2)
    assert scene.types() == ["input_audio_buffer.speech_started"]
    assert scene.sent == []
    assert scene.dialogue.state == FloorState.PERSON
    scene.pass_time(0.22)
    assert scene.told_ids() == [guess]
    assert scene.dialogue.state == FloorState.SPEAKING
    assert scene.sent
    assert scene.types()[1:6] == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    assert scene.count("adopted") == 1
    saved = scene.metrics.registry.get_sample_value("realtime_guess_saved_seconds_sum")
    assert saved == pytest.approx(0.36, abs=0.05)


def test_no_guess_without_room_or_against_the_setting():
    for scene in (Scene(spare=False), Scene(speculative=False)):
        scene.speak(1.0, pause=0.7)
        assert scene.session.speculative == []
        assert len(scene.session.wanted) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: scene.dialogue.write([TextItem(text="in Paris")], events.Item(id="typed"), scene.now),
        lambda scene: scene.dialogue.context_changes(scene.now),
        lambda scene: scene.dialogue.ask(scene.now, instructions="in French"),
    ],
)
def test_what_changes_the_context_makes_the_guess_wrong(change: Callable[[Scene], object]):
    scene = Scene()
    scene.speak(1.0, pause=0.4)
    change(scene)
    scene.pass_time(0.4)
    assert scene.session.discarded == scene.session.speculative
    assert len(scene.session.wanted) == 1
    assert scene.told_ids() == scene.session.wanted


def test_a_guess_that_fails_is_asked_for_again_when_the_turn_is_over():
    scene = Scene()
    scene.speak(1.0, pause=0.4)
    (guess,) = scene.session.speculative
    scene.dialogue.reply(protocol.Error(code="engine_busy", message="no", response_id=guess), scene.now)
    scene.pass_time(0.4)
    assert scene.told_ids() == scene.session.wanted
    assert len(scene.session.wanted) == 1


def taken_pause(*, played_ms: float, spare: bool = True, going_on_s: float = 0.9) -> Scene:
    """A turn is answered in a pause; the person goes on when they have heard so much of the answer."""
    scene = Scene(spare=spare, silence_ms=400.0)
    scene.speak(1.3, pause=0.5)
    scene.says(6)
    (response_id,) = scene.told_ids()
    scene.pass_time(0.3)
    scene.ack(response_id, played_ms - 50)
    scene.cutter.voice_from(scene.position)
    scene.dialogue.edge(Edge(True, scene.position, scene.now), scene.now)
    scene.pass_time(0.3)
    scene.ack(response_id, played_ms, final=True)
    scene.pass_time(going_on_s - 0.3)
    scene.cutter.voice_until(scene.position)
    scene.dialogue.edge(Edge(False, scene.position, scene.now), scene.now)
    return scene


@pytest.mark.parametrize("spare", [True, False])
def test_a_taken_pause_is_repaired_as_one_turn(spare: bool):
    scene = taken_pause(played_ms=300, spare=spare)
    turn, *_ = [event.item_id for event in scene.told if isinstance(event, events.Committed)]
    (first,) = scene.told_ids()
    assistant = next(e.item.id for e in scene.told if isinstance(e, events.OutputItemAdded))
    assert scene.session.discarded == [first]
    assert [e.item_id for e in scene.told if isinstance(e, events.ItemDeleted)] == [assistant, turn]
    assert [e.response.status for e in scene.told if isinstance(e, events.ResponseDone)] == ["cancelled"]
    assert not any(isinstance(event, events.ItemTruncated) for event in scene.told)
    # The model has heard whole seconds, as if the assistant had never begun.
    scene.pass_time(0.02)
    assert [len(audio) for audio, _ in scene.session.units] == [2 * RATE] * (scene.position // RATE)
    scene.pass_time(0.7)
    heard = b"".join(audio for audio, _ in scene.session.units)
    assert heard.startswith(scene.samples(scene.position - 10_000))
    committed = [event.item_id for event in scene.told if isinstance(event, events.Committed)]
    assert committed == [turn, turn]
    opened = [event for event in scene.told if isinstance(event, events.SpeechStarted)]
    assert [(event.item_id, event.audio_start_ms) for event in opened] == [(turn, 0), (turn, 0)]
    assert [e.previous_item_id for e in scene.told if isinstance(e, events.Committed)] == [None, None]
    assert len(scene.told_ids()) == 2


def test_who_heard_more_before_going_on_interrupts():
    scene = taken_pause(played_ms=450)
    assert scene.session.discarded == []
    assert not any(isinstance(event, events.ItemDeleted) for event in scene.told)
    assert [event.audio_end_ms for event in scene.told if isinstance(event, events.ItemTruncated)] == [450]
    scene.pass_time(0.7)
    committed = [event.item_id for event in scene.told if isinstance(event, events.Committed)]
    assert len(set(committed)) == 2
    assert [kind for kind, _ in scene.session.line.context].count("assistant") == 1
