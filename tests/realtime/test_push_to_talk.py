"""Push to talk: the client says when a turn is over, and voices decide nothing."""

from __future__ import annotations

from dataclasses import replace

from model_server.protocol import TextItem
from realtime import events
from realtime.floor.rules import FloorRules, FloorState
from tests.realtime.dialogue_scene import RATE, Scene

MANUAL = FloorRules(eagerness="fixed", silence_ms=600.0, manual=True)


def test_a_turn_ends_when_the_client_says_so_and_is_answered_when_it_asks():
    scene = Scene(manual=True)
    scene.speak(1.3, pause=2.0)
    assert scene.types() == []
    assert scene.dialogue.commit(scene.now)
    assert scene.types() == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    assert scene.dialogue.state == FloorState.IDLE
    assert scene.dialogue.ask(scene.now)
    scene.answer()
    heard = b"".join(audio for audio, _ in scene.session.units)
    assert heard.startswith(scene.samples(round(3.3 * RATE)))
    assert len(scene.told_ids()) == 1


def test_a_voice_over_the_reply_neither_holds_nor_stops_it():
    scene = Scene(manual=True)
    scene.speak(1.0)
    scene.dialogue.commit(scene.now)
    scene.dialogue.ask(scene.now)
    scene.answer()
    scene.says(3)
    assert scene.dialogue.state == FloorState.SPEAKING
    scene.speak(1.5, pause=1.0)
    assert scene.dialogue.state == FloorState.SPEAKING
    assert "output_audio_buffer.paused" not in scene.types()
    scene.dialogue.stop(scene.now)
    assert "output_audio_buffer.cleared" in scene.types()


def test_what_was_said_while_the_assistant_spoke_is_committed_behind_it():
    scene = Scene(manual=True)
    scene.speak(1.0)
    scene.dialogue.commit(scene.now)
    scene.dialogue.ask(scene.now)
    scene.answer()
    scene.says(2)
    before = len(scene.session.units)
    scene.speak(1.48)
    scene.dialogue.commit(scene.now)
    assert len(scene.session.units) == before
    scene.dialogue.stop(scene.now)
    scene.ack(scene.told_ids()[0], 200, final=True)
    assert [len(audio) for audio, _ in scene.session.units[before:]] == [2 * RATE, 2 * 7_680]
    committed = [event.item_id for event in scene.told if isinstance(event, events.Committed)]
    assert len(set(committed)) == 2


def test_what_is_cleared_never_reaches_the_model():
    scene = Scene(manual=True)
    scene.speak(0.8)
    assert scene.dialogue.clear_input()
    scene.speak(0.48)
    scene.dialogue.commit(scene.now)
    scene.answer()
    (unit,) = scene.session.units
    whole = scene.samples(scene.position)
    assert unit[0] == whole[-2 * 7_680 :]
    assert scene.types()[0] == "input_audio_buffer.cleared"


def test_where_voices_decide_there_is_nothing_to_commit_or_clear():
    scene = Scene()
    scene.speak(0.8)
    assert not scene.dialogue.commit(scene.now)
    assert not scene.dialogue.clear_input()
    scene.pass_time(0.7)
    assert len(scene.told_ids()) == 1


def test_it_can_be_switched_on_and_off_at_any_time():
    scene = Scene()
    scene.speak(1.0, pause=0.4)
    assert len(scene.session.speculative) == 1
    scene.dialogue.set_rules(MANUAL, scene.now)
    assert scene.session.discarded == scene.session.speculative
    scene.pass_time(1.0)
    assert scene.told_ids() == []
    assert scene.dialogue.state == FloorState.IDLE
    assert scene.dialogue.deadline is None
    scene.dialogue.write([TextItem(text="hello")], events.Item(id="typed"), scene.now)
    scene.dialogue.set_rules(replace(MANUAL, manual=False), scene.now)
    scene.speak(0.5, pause=0.7)
    assert len(scene.told_ids()) == 1
