"""One call's conversation without sockets: what reaches the session and the client, and in which order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from model_server import protocol
from model_server.protocol import Capabilities, GenerateOptions, TextItem, WordMark
from realtime import events
from realtime.connection.frames import AudioMessage
from realtime.dialogue.dialogue import MAX_WAIT_UNITS, Dialogue
from realtime.dialogue.writing import MAX_TYPED_ITEMS
from realtime.events import ServerEvent
from realtime.floor.rules import FloorRules, FloorState
from realtime.media.hearing import Edge
from realtime.media.units import CutUnit
from realtime.output.playout import Playout
from realtime.output.speaking import Speaking
from realtime.service.metrics import Metrics

SECOND_OF_SPEECH = np.full(24_000, 1_000, np.int16).tobytes()


def unit(second: int, *, voiced: bool = True, last: bool = False) -> CutUnit:
    samples = np.zeros(16_000, np.int16)
    return CutUnit(second * 16_000, samples, samples.tobytes(), [], voiced=voiced, last=last)


@dataclass
class FakeSession:
    """Writes down what it is asked."""

    said: list[tuple[str, object]] = field(default_factory=list)
    seq: int = 0

    def prefill(self, item: protocol.Item) -> int:
        self.seq += 1
        self.said.append(("prefill", item))
        return self.seq

    def generate(self, response_id: str, options: GenerateOptions) -> None:
        self.said.append(("generate", response_id))

    def played(self, response_id: str, ms: int) -> None:
        self.said.append(("played", (response_id, ms)))

    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None:
        if discard:
            self.said.append(("discard", (response_id, rollback_to_seq)))
        else:
            self.said.append(("cancel", (response_id, keep_ms)))

    def names(self) -> list[str]:
        return [name for name, _ in self.said if name != "played"]


class FakeCutter:
    """Always has half a second to cut."""

    can_cancel = False
    end = 0

    def cut_turn(self) -> CutUnit:
        self.can_cancel = True
        return unit(9, last=True)

    def confirm_cut(self) -> None:
        self.can_cancel = False

    def cancel_cut(self) -> list[CutUnit]:
        self.can_cancel = False
        return [unit(9)]


class Scene:
    """A dialogue with a fake session on one side and lists of what the client got on the other."""

    def __init__(self, *, mode: str = "acks", turn_taking: str = "turn_based", idle_prompt_ms: float = 0.0) -> None:
        self.session = FakeSession()
        self.metrics = Metrics()
        self.told: list[ServerEvent] = []
        self.sent: list[AudioMessage] = []
        self.flushed: list[int] = []
        ids = itertools.count(1)
        capabilities = Capabilities(engine="fake", model="fake", turn_taking=turn_taking)  # type: ignore[arg-type]
        speaking = Speaking(
            self.told.append,
            self.sent.append,
            self.flushed.append,
            lambda: Playout(mode=mode),  # type: ignore[arg-type]
        )
        self.dialogue = Dialogue(
            capabilities,
            self.session,
            speaking,
            self.told.append,
            FakeCutter(),
            lambda prefix: f"{prefix}_{next(ids)}",
            FloorRules(native=turn_taking == "native", eagerness="fixed", idle_prompt_ms=idle_prompt_ms),
            self.metrics,
        )

    def ignored(self) -> float:
        """The reports that changed nothing."""
        return self.metrics.registry.get_sample_value("realtime_acks_ignored_total") or 0.0

    def types(self) -> list[str]:
        return [str(event.__struct_config__.tag) for event in self.told]

    def turn(self, start: float = 0.0, end: float = 1.0) -> str:
        """The person speaks and is answered; returns the id of the response that was asked for."""
        self.dialogue.edge(Edge(True, int(start * 16_000), start), start)
        self.dialogue.unit(unit(int(start)), end)
        self.dialogue.edge(Edge(False, int(end * 16_000), end), end)
        self.dialogue.tick(end + 0.5)
        name, response_id = self.session.said[-1]
        assert name == "generate"
        return str(response_id)

    def speech(self, response_id: str, now: float, *, second: int = 0, text: str = "red, I think") -> None:
        start = second * len(text)
        self.dialogue.reply(protocol.Text(response_id=response_id, start=start, text=text), now)
        mark = WordMark(start, start + 3, second * 1000, second * 1000 + 300)
        speech = protocol.Speech(
            response_id=response_id,
            position=second * 24_000,
            pcm=SECOND_OF_SPEECH,
            text_span=(start, start + len(text)),
            marks=[mark],
        )
        self.dialogue.reply(speech, now)

    def play_out(self, response_id: str, start: float, total_ms: int) -> float:
        """A page that plays everything it gets and says so; returns the time when it has."""
        for played_ms in range(0, total_ms + 1, 100):
            self.ack(response_id, played_ms, start + played_ms / 1000, final=played_ms == total_ms)
        end = start + total_ms / 1000 + 1.0
        self.dialogue.tick(end)
        return end

    def ack(self, response_id: str, played_ms: float, now: float, *, final: bool = False) -> None:
        self.dialogue.played(events.PlaybackAck(response_id=response_id, played_ms=played_ms, final=final), now)


def test_a_turn_goes_in_and_its_answer_comes_out_in_order():
    scene = Scene()
    response_id = scene.turn()
    assert scene.session.names() == ["prefill", "prefill", "generate"]
    scene.dialogue.reply(protocol.Transcript(seq=2, text="what colour"), 1.5)
    scene.speech(response_id, 1.6)
    scene.dialogue.reply(protocol.Done(response_id=response_id), 1.7)
    scene.play_out(response_id, 1.8, 1000)
    assert scene.types() == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "conversation.item.input_audio_transcription.completed",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.times",
        "output_audio_buffer.started",
        "turn.timings",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "output_audio_buffer.stopped",
    ]
    assert scene.dialogue.state == FloorState.IDLE
    assert b"".join(message.pcm for message in scene.sent) == SECOND_OF_SPEECH


def test_units_wait_while_the_assistant_speaks_and_silence_is_dropped():
    scene = Scene()
    response_id = scene.turn()
    scene.speech(response_id, 1.6)
    before = len(scene.session.names())
    scene.dialogue.unit(unit(2, voiced=False), 2.0)
    scene.dialogue.unit(unit(3, voiced=True), 2.2)
    assert len(scene.session.names()) == before
    scene.dialogue.reply(protocol.Done(response_id=response_id), 2.3)
    scene.play_out(response_id, 2.4, 1000)
    assert scene.session.names()[before:] == ["prefill"]


def test_talking_over_the_assistant_cuts_it_at_what_was_heard():
    scene = Scene()
    response_id = scene.turn(end=0.7)
    scene.speech(response_id, 1.6)
    scene.dialogue.edge(Edge(True, 32_000, 2.0), 2.1)
    assert scene.types()[-1] == "output_audio_buffer.paused"
    sent = len(scene.sent)
    scene.dialogue.tick(2.25)
    assert scene.types()[-2:] == ["output_audio_buffer.cleared", "input_audio_buffer.speech_started"]
    assert scene.session.names()[-1] == "generate"
    scene.ack(response_id, 140.0, 2.3, final=True)
    assert scene.session.said[-1] == ("cancel", (response_id, 140))
    assert scene.types()[-1] == "response.done"
    assert scene.told[-1].response.status == "cancelled"  # type: ignore[union-attr]
    # Nothing of it is said afterwards, whatever still comes.
    scene.speech(response_id, 2.35, second=1)
    scene.dialogue.tick(2.4)
    assert len(scene.sent) == sent
    scene.dialogue.reply(protocol.Cancelled(response_id=response_id, kept_text="red,", kv_length=9, last_seq=2), 2.5)
    truncated = scene.told[-1]
    assert isinstance(truncated, events.ItemTruncated)
    assert (truncated.audio_end_ms, truncated.transcript) == (140, "red,")
    assert scene.flushed == [1, 1]


def test_a_cut_does_not_wait_for_a_page_that_says_nothing():
    scene = Scene()
    response_id = scene.turn()
    scene.speech(response_id, 1.6)
    scene.ack(response_id, 100.0, 1.8)
    scene.dialogue.edge(Edge(True, 32_000, 2.0), 2.1)
    scene.dialogue.tick(2.25)
    scene.dialogue.tick(2.5)
    name, cancelled = scene.session.said[-1]
    assert name == "cancel"
    assert 100 <= cancelled[1] <= 600  # type: ignore[index]


def test_a_client_without_the_audio_channel_is_cut_by_estimate_at_once():
    scene = Scene(mode="track")
    response_id = scene.turn(end=0.7)
    scene.speech(response_id, 1.6)
    for step in range(8):
        scene.dialogue.tick(1.6 + 0.05 * step)
    scene.dialogue.edge(Edge(True, 32_000, 2.0), 2.1)
    scene.dialogue.tick(2.25)
    name, cancelled = scene.session.said[-1]
    assert name == "cancel"
    assert 200 <= cancelled[1] <= 500  # type: ignore[index]


def test_the_person_goes_on_before_the_first_sound_and_is_not_interrupted():
    scene = Scene()
    response_id = scene.turn()
    item_id = next(event.item_id for event in scene.told if isinstance(event, events.Committed))
    scene.dialogue.edge(Edge(True, 26_000, 1.6), 1.6)
    assert scene.session.said[-2] == ("discard", (response_id, 1))
    assert scene.session.said[-1] == ("prefill", protocol.Unit(audio=bytes(32_000), voiced=True))
    scene.speech(response_id, 1.7)
    assert scene.sent == []
    scene.dialogue.unit(unit(2), 2.0)
    assert scene.session.names()[-1] == "prefill"
    assert "output_audio_buffer.cleared" not in scene.types()
    deleted = [event.item_id for event in scene.told if isinstance(event, events.ItemDeleted)]
    assert deleted[-1] == item_id
    assert len(deleted) == 2
    assert [event.item_id for event in scene.told if isinstance(event, events.SpeechStarted)] == [item_id, item_id]


def test_someone_who_waits_too_long_gets_the_floor():
    scene = Scene()
    response_id = scene.turn()
    scene.speech(response_id, 1.6)
    for second in range(MAX_WAIT_UNITS):
        scene.dialogue.unit(unit(second + 2), 2.0)
    assert "output_audio_buffer.cleared" in scene.types()
    scene.ack(response_id, 150, 2.1, final=True)
    assert scene.session.names()[-MAX_WAIT_UNITS - 1 :] == ["cancel"] + ["prefill"] * MAX_WAIT_UNITS


def test_typed_words_are_written_and_answered():
    scene = Scene()
    told = events.Item(id="item_x", content=[events.ContentPart(type="input_text", text="hello")])
    assert scene.dialogue.write([TextItem(text="hello")], told, 0.0)
    assert scene.dialogue.ask(0.1)
    assert scene.session.names() == ["prefill", "generate"]
    assert not scene.dialogue.ask(0.2)


def test_typed_words_during_a_reply_are_bounded():
    scene = Scene()
    scene.dialogue.ask(0.0)
    item = TextItem(text="hello")
    taken = [scene.dialogue.write([item], events.Item(id=str(n)), 0.0) for n in range(MAX_TYPED_ITEMS + 1)]
    assert taken == [True] * MAX_TYPED_ITEMS + [False]


def test_a_failed_response_ends_and_the_call_listens_again():
    scene = Scene()
    response_id = scene.turn()
    scene.dialogue.reply(protocol.Error(code="engine_failed", message="broken", response_id=response_id), 1.6)
    assert scene.dialogue.state == FloorState.IDLE
    assert scene.told[-1].response.status == "failed"  # type: ignore[union-attr]
    scene.dialogue.unit(unit(2), 2.0)
    assert scene.session.names()[-1] == "prefill"


def test_a_benign_race_is_no_error():
    scene = Scene()
    assert not scene.dialogue.stop(0.0)
    assert not scene.dialogue.truncate("item_unknown", 100, 0.0)
    scene.dialogue.reply(protocol.Error(code="unknown_response", message="over", response_id="resp_0"), 0.1)
    assert scene.told == []


def test_a_client_can_cut_to_what_it_heard_itself():
    scene = Scene()
    response_id = scene.turn()
    scene.speech(response_id, 1.6)
    created = next(event for event in scene.told if isinstance(event, events.OutputItemAdded))
    assert scene.dialogue.truncate(created.item.id, 250, 1.9)
    assert scene.session.said[-1] == ("cancel", (response_id, 250))
    assert scene.dialogue.state == FloorState.IDLE


@pytest.mark.parametrize("played_ms", [-5.0, float("nan"), 1e12])
def test_reports_that_cannot_be_change_nothing(played_ms: float):
    scene = Scene()
    response_id = scene.turn()
    scene.speech(response_id, 1.6)
    scene.ack(response_id, played_ms, 1.7)
    scene.ack("resp_unknown", 100, 1.7, final=True)
    assert scene.dialogue.state == FloorState.SPEAKING
    assert scene.dialogue.speaking.playout.heard_ms(response_id, 1.7) <= 101


def test_speech_that_breaks_the_protocol_fails_its_response_only():
    scene = Scene()
    response_id = scene.turn()
    scene.dialogue.reply(
        protocol.Speech(response_id=response_id, position=99, pcm=SECOND_OF_SPEECH, text_span=(0, 0)), 1.6
    )
    assert scene.session.said[-1] == ("cancel", (response_id, 0))
    assert scene.dialogue.state == FloorState.IDLE


def test_a_native_engine_takes_every_unit_and_answers_by_itself():
    scene = Scene(turn_taking="native")
    scene.dialogue.edge(Edge(True, 0, 0.0), 0.1)
    scene.dialogue.unit(unit(0), 1.0)
    scene.dialogue.edge(Edge(False, 16_000, 1.0), 1.0)
    scene.dialogue.tick(1.5)
    scene.dialogue.reply(protocol.Started(response_id="n1"), 2.0)
    scene.speech("n1", 2.1)
    scene.dialogue.unit(unit(2), 3.0)
    assert scene.session.names() == ["prefill", "prefill"]
    assert scene.dialogue.state == FloorState.SPEAKING


def test_reports_that_cannot_be_are_counted_and_change_nothing():
    scene = Scene()
    scene.ack("resp_0", 100, 0.1)
    response_id = scene.turn()
    scene.speech(response_id, 1.6)
    sent = len(scene.sent)
    for name, played_ms in [(response_id, 5_000), ("resp_unknown", 20), (response_id, float("inf"))]:
        scene.ack(name, played_ms, 1.6, final=True)
    assert scene.dialogue.state == FloorState.SPEAKING
    assert len(scene.sent) == sent
    assert scene.ignored() == 4
    scene.ack(response_id, 100, 1.8)
    scene.ack(response_id, 40, 1.85)
    assert scene.ignored() == 5


def test_a_question_is_followed_by_one_prompt_and_no_other():
    scene = Scene(idle_prompt_ms=5_000.0)
    scene.dialogue.ask(0.0, say="Hello?")
    end = 0.0
    for expected in ("Hello?", "Are you still there?"):
        name, response_id = scene.session.said[-1]
        assert name == "generate"
        scene.speech(str(response_id), end + 0.1, text=expected)
        scene.dialogue.reply(protocol.Done(response_id=str(response_id)), end + 0.2)
        end = scene.play_out(str(response_id), end + 0.3, 1000)
        assert scene.dialogue.state == FloorState.IDLE
        for late in (4.9, 5.1):
            scene.dialogue.tick(end + late)
        end += 5.1
    assert scene.dialogue.deadline is None
    assert scene.session.names().count("generate") == 2
