from __future__ import annotations

from model_server.demo.engine import DemoEngine
from model_server.demo.talk import KEPT_PIECES, MOST_PIECES, Talk
from model_server.protocol import Unit


def test_what_a_session_remembers_is_bounded() -> None:
    talk = Talk(1, 0.0)
    for number in range(100):
        talk = talk.with_item(Unit(audio=number.to_bytes(2, "little") * 16_000), talk.seen)
        assert len(talk.turn.pieces) <= MOST_PIECES
    assert talk.turn.pieces[-1] == (99).to_bytes(2, "little") * 16_000
    assert len(talk.turn.pieces) + 1 > KEPT_PIECES
    talk = talk.with_typed("x" * 8_000)
    assert len(talk.turn.typed) < 8_000


def test_capabilities() -> None:
    capabilities = DemoEngine().capabilities
    assert capabilities.scripted
    assert "not a neural network" in capabilities.notice
    assert capabilities.word_marks
    assert capabilities.transcription
    assert 3 <= len(capabilities.suggestions) <= 5
    assert capabilities.greeting
