"""A client's events: carried out, or answered with a typed error that changes nothing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from model_server.protocol import MAX_TEXT_CHARS, PictureItem, TextItem
from realtime import events
from realtime.call.client_events import ClientEvents
from realtime.events import MAX_EVENT_BYTES, EventError
from tests.realtime.images import jpeg_of


class FakeDialogue:
    """Writes down what it is asked; `answering` says whether a response is active, `manual` whether voices decide."""

    def __init__(self, *, active: bool = False) -> None:
        self.answering = active
        self.manual = False
        self.asked: list[tuple[Any, ...]] = []

    def write(self, items: list[TextItem | PictureItem], told: events.Item, now: float) -> bool:
        self.asked.append(("write", items, told))
        return not self.answering

    def ask(self, now: float, *, say: str | None = None, instructions: str = "") -> bool:
        self.asked.append(("ask", instructions))
        return not self.answering

    def stop(self, now: float, response_id: str | None = None) -> bool:
        self.asked.append(("stop", response_id))
        return self.answering

    def active(self, now: float) -> None:
        self.asked.append(("active",))

    def commit(self, now: float) -> bool:
        self.asked.append(("commit",))
        return self.manual

    def clear_input(self) -> bool:
        self.asked.append(("clear_input",))
        return self.manual

    def truncate(self, item_id: str, heard_ms: int, now: float) -> bool:
        self.asked.append(("truncate", item_id, heard_ms))
        return item_id == "item_known"

    def played(self, ack: events.PlaybackAck, now: float) -> None:
        self.asked.append(("played", ack.played_ms))


class FakeCall:
    """The call around the dialogue."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def apply_settings(self, settings: events.SessionSettings) -> None:
        self.asked.append(settings)

    def pong(self, nonce: int) -> None:
        self.asked.append(nonce)

    def media_state(self, state: events.MediaState) -> None:
        self.asked.append(state)


def handler(*, active: bool = False) -> tuple[ClientEvents, FakeDialogue, FakeCall]:
    dialogue, call = FakeDialogue(active=active), FakeCall()
    return ClientEvents(dialogue, call, lambda prefix: f"{prefix}_new"), dialogue, call  # type: ignore[arg-type]


def typed(*content: dict[str, Any], **item: Any) -> str:
    return json.dumps({"type": "conversation.item.create", "item": {"content": list(content), **item}})


def image(data: bytes) -> dict[str, str]:
    return {"type": "input_image", "image_url": "data:image/jpeg;base64," + base64.b64encode(data).decode()}


BAD = [
    ("{", "invalid_json"),
    ("", "invalid_json"),
    ("[1, 2]", "invalid_event"),
    ('"hello"', "invalid_event"),
    ("null", "invalid_event"),
    ('{"no": "type"}', "invalid_event"),
    ('{"type": 7}', "invalid_event"),
    ('{"type": "session.frobnicate"}', "unknown_event"),
    ('{"type": "playback.ack"}', "invalid_event"),
    ('{"type": "playback.ack", "response_id": 5, "played_ms": 1}', "invalid_event"),
    ('{"type": "playback.ack", "response_id": "r", "played_ms": "much"}', "invalid_event"),
    ('{"type": "session.update", "session": []}', "invalid_event"),
    ('{"type": "session.update", "session": {"extensions": "all"}}', "invalid_event"),
    ('{"type": "response.create", "response": 3}', "invalid_event"),
    ('{"type": "pong", "nonce": "x"}', "invalid_event"),
    ('{"type": "conversation.item.truncate", "item_id": "item_known", "audio_end_ms": -1}', "invalid_value"),
    (
        '{"type": "conversation.item.truncate", "item_id": "item_x", "audio_end_ms": 10}',
        "item_truncate_invalid_item_id",
    ),
    (typed(), "invalid_value"),
    (typed({"type": "input_text", "text": ""}), "invalid_value"),
    (typed({"type": "input_text"}), "invalid_value"),
    (typed({"type": "input_text", "text": "x" * (MAX_TEXT_CHARS + 1)}), "invalid_value"),
    (typed({"type": "input_video"}), "invalid_value"),
    (typed({"type": "input_text", "text": "hi"}, role="assistant"), "invalid_value"),
    (typed({"type": "input_image", "image_url": "https://example.org/a.jpg"}), "invalid_value"),
    (typed({"type": "input_image", "image_url": "data:image/jpeg;base64,%%%"}), "invalid_image"),
    (typed(image(b"GIF89a")), "invalid_image"),
    (typed(image(jpeg_of(64, 48)[:-40])), "invalid_image"),
    (typed({"type": "input_text", "text": "good"}, image(b"bad")), "invalid_image"),
    (" " * (MAX_EVENT_BYTES + 1), "event_too_large"),
]


@pytest.mark.parametrize(("data", "code"), BAD, ids=[f"{code}-{data[:40].strip()}" for data, code in BAD])
def test_bad_events_are_answered_with_their_code_and_change_nothing(data: str, code: str):
    client, dialogue, call = handler()
    with pytest.raises(EventError) as caught:
        client.handle(data, 0.0)
    assert caught.value.code == code
    assert [entry for entry in dialogue.asked if entry[0] != "truncate"] == []
    assert call.asked == []


def test_binary_messages_are_no_events():
    with pytest.raises(EventError, match="binary"):
        handler()[0].handle(b"\x00\x01", 0.0)


def test_an_error_names_the_event_it_is_about():
    with pytest.raises(EventError) as caught:
        handler()[0].handle('{"type": "nonsense", "event_id": "evt_7"}', 0.0)
    error = caught.value.event().error
    assert (error.event_id, error.type, error.param) == ("evt_7", "invalid_request_error", "type")


def test_text_and_picture_of_one_item_are_written_together():
    client, dialogue, _ = handler()
    picture = jpeg_of(64, 48)
    client.handle(typed({"type": "input_text", "text": "look"}, image(picture)), 0.0)
    _, items, told = dialogue.asked[0]
    assert items == [TextItem(text="look"), PictureItem(jpeg=picture)]
    assert told.id == "item_new"
    assert [part.image_url for part in told.content] == [None, None]


def test_a_response_while_one_is_active_is_refused_by_openais_name():
    with pytest.raises(EventError) as caught:
        handler(active=True)[0].handle('{"type": "response.create"}', 0.0)
    assert caught.value.code == "conversation_already_has_active_response"


@pytest.mark.parametrize("event", ["response.cancel", "output_audio_buffer.clear"])
def test_stopping_what_has_just_ended_is_no_error(event: str):
    client, dialogue, _ = handler()
    client.handle(json.dumps({"type": event}), 0.0)
    assert dialogue.asked == [("stop", None)]


def test_unknown_fields_are_ignored():
    client, dialogue, _ = handler()
    client.handle('{"type": "playback.ack", "response_id": "r", "played_ms": 20, "mood": "fine"}', 0.0)
    assert dialogue.asked == [("played", 20.0)]


@pytest.mark.parametrize(
    ("event", "asked"), [("input_audio_buffer.commit", "commit"), ("input_audio_buffer.clear", "clear_input")]
)
def test_push_to_talk_is_refused_while_voices_decide(event: str, asked: str):
    client, dialogue, _ = handler()
    with pytest.raises(EventError) as caught:
        client.handle(json.dumps({"type": event}), 0.0)
    assert (caught.value.code, caught.value.param) == ("turn_detection_active", "session.turn_detection")
    dialogue.manual = True
    client.handle(json.dumps({"type": event}), 0.0)
    assert dialogue.asked == [(asked,), (asked,)]


def test_a_person_who_writes_is_there():
    client, dialogue, _ = handler()
    client.handle('{"type": "typing"}', 0.0)
    assert dialogue.asked == [("active",)]
