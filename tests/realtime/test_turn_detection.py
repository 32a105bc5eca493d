"""`turn_detection`: what each form makes of the floor's rules, and nonsense refused by the name of its field."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from realtime import events
from realtime.call.turn_detection import TurnFinding, turn_finding
from realtime.events import EventError, decode_client_event
from realtime.floor.rules import FloorRules

USUAL = FloorRules(silence_ms=450, interrupt_ms=300)
NOW = TurnFinding(USUAL)


def update(session: dict[str, Any]) -> events.SessionSettings:
    """What the gateway makes of a client's message."""
    event = decode_client_event(json.dumps({"type": "session.update", "session": session}))
    assert isinstance(event, events.SessionUpdate)
    return event.session


def found(asked: dict[str, Any]) -> TurnFinding:
    return turn_finding(update({"turn_detection": asked}).turns, USUAL, NOW)


def test_server_vad_is_a_plain_silence():
    asked = {"type": "server_vad", "threshold": 0.7, "prefix_padding_ms": 200, "silence_duration_ms": 650}
    finding = found(asked)
    assert (finding.rules.silence_ms, finding.rules.eagerness) == (650, "fixed")
    assert finding.rules.interrupt_ms == 300
    assert (finding.threshold, finding.padding_ms) == (0.7, 200)
    assert finding.facts() == asked


def test_server_vad_has_the_defaults_of_the_api():
    wanted = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    assert found({"type": "server_vad"}).facts() == wanted


@pytest.mark.parametrize("eagerness", ["low", "medium", "high", "auto"])
def test_semantic_vad_adapts(eagerness: str):
    finding = found({"type": "semantic_vad", "eagerness": eagerness})
    assert (finding.rules.silence_ms, finding.rules.eagerness) == (450, eagerness)
    assert finding.facts() == {"type": "semantic_vad", "eagerness": eagerness}


def test_semantic_vad_alone_is_auto():
    assert found({"type": "semantic_vad"}).rules.eagerness == "auto"


def test_null_is_push_to_talk():
    finding = turn_finding(update({"turn_detection": None}).turns, USUAL, NOW)
    assert finding.rules.manual
    assert finding.facts() is None
    assert not turn_finding(update({"turn_detection": {"type": "semantic_vad"}}).turns, USUAL, finding).rules.manual


def test_it_may_stand_where_the_api_has_it():
    settings = update({"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}}})
    assert turn_finding(settings.turns, USUAL, NOW).rules.eagerness == "low"


@pytest.mark.parametrize("session", [{}, {"audio": {}}, {"audio": {"input": {}}}, {"language": "en"}])
def test_who_says_nothing_of_it_changes_nothing(session: dict[str, Any]):
    assert turn_finding(update(session).turns, USUAL, NOW) is NOW


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"type": "telepathy"}, "type"),
        ({"type": "server_vad", "threshold": -0.5}, "threshold"),
        ({"type": "server_vad", "threshold": 1.5}, "threshold"),
        ({"type": "server_vad", "prefix_padding_ms": -1}, "prefix_padding_ms"),
        ({"type": "server_vad", "prefix_padding_ms": 60_000}, "prefix_padding_ms"),
        ({"type": "server_vad", "silence_duration_ms": -200}, "silence_duration_ms"),
        ({"type": "server_vad", "silence_duration_ms": 1e300}, "silence_duration_ms"),
        ({"type": "server_vad", "eagerness": "low"}, "eagerness"),
        ({"type": "semantic_vad", "eagerness": "hasty"}, "eagerness"),
        ({"type": "semantic_vad", "eagerness": "fixed"}, "eagerness"),
        ({"type": "semantic_vad", "silence_duration_ms": 300}, "silence_duration_ms"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_its_field(asked: dict[str, Any], field: str):
    with pytest.raises(EventError) as refused:
        found(asked)
    assert refused.value.param == f"session.turn_detection.{field}"
    assert refused.value.code == "invalid_value"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["threshold", "prefix_padding_ms", "silence_duration_ms"])
def test_what_is_no_number_is_refused_by_the_name_of_its_field(name: str, value: float):
    asked = msgspec.convert({"type": "server_vad", name: value}, events.TurnDetection)
    with pytest.raises(EventError, match="expected"):
        turn_finding(asked, USUAL, NOW)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", '"soon"', "true"])
def test_what_json_cannot_say_is_refused_as_an_event(value: str):
    body = f'{{"type":"session.update","session":{{"turn_detection":{{"type":"server_vad","threshold":{value}}}}}}}'
    with pytest.raises(EventError):
        decode_client_event(body)
