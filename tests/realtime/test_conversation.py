"""The order of a response's events, which OpenAI's clients rely on."""

from __future__ import annotations

import json

import pytest

from model_server.protocol import Usage, WordMark
from realtime.dialogue.response_events import Outcome, ResponseEvents
from realtime.events import ServerEvent, encode_event


def types(told: list[ServerEvent]) -> list[str]:
    return [json.loads(encode_event(event))["type"] for event in told]


def test_a_spoken_response_from_start_to_done():
    response = ResponseEvents("resp_1", "item_1", 3)
    told = [*response.start(), *response.delta("Hello "), *response.delta("you"), *response.finish("completed")]
    assert types(told) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    last = json.loads(encode_event(told[-1]))["response"]
    assert last["output"][0]["content"][0]["transcript"] == "Hello you"
    assert json.loads(encode_event(told[0]))["number"] == 3


def test_a_response_without_speech_has_text_events():
    response = ResponseEvents("resp_1", "item_1", 1, spoken=False)
    told = [*response.start(), *response.delta("Hello"), *response.finish("completed")]
    assert "response.output_text.delta" in types(told)
    assert "response.output_text.done" in types(told)
    assert not any("audio" in kind for kind in types(told))


@pytest.mark.parametrize("outcome", ["cancelled", "failed", "incomplete"])
def test_whatever_happens_done_comes_once_and_last(outcome: Outcome):
    response = ResponseEvents("resp_1", "item_1", 1)
    told = response.finish(outcome, reason="turn_detected")
    assert types(told)[-1] == "response.done"
    done = json.loads(encode_event(told[-1]))["response"]
    assert (done["status"], done["status_details"]["reason"]) == (outcome, "turn_detected")
    assert response.finish("completed") == []


def test_usage_and_word_times_are_told():
    response = ResponseEvents("resp_1", "item_1", 1)
    [times] = response.times([WordMark(0, 5, 0, 300)])
    assert json.loads(encode_event(times))["words"] == [[0, 5, 0, 300]]
    assert response.times([]) == []
    done = response.finish("completed", usage=Usage(input_tokens=4, output_tokens=2, audio_ms=900))[-1]
    assert json.loads(encode_event(done))["response"]["usage"]["total_tokens"] == 6


def test_every_event_has_an_id_of_its_own():
    told = [json.loads(encode_event(event)) for event in ResponseEvents("r", "i", 1).start()]
    assert len({event["event_id"] for event in told}) == len(told)
