"""A call whose client sets how turns are found, and one whose turns a learned model judges, in virtual time."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from realtime.call import inputs
from realtime.media.decoder import Samples
from realtime.media.speech import EdgeKind, SpeechEdge
from tests.realtime.scripted_call import ScriptedCall
from tests.realtime.test_hearing import LoudDetector
from tests.realtime.voices import noise

SPOKEN_S = (3.0, 4.0)
"""The person speaks from here to there, in a call that greets them first."""


class Ears(LoudDetector):
    """Hears what is loud, and remembers what it said and the thresholds it was given."""

    def feed(self, samples: Samples) -> list[SpeechEdge]:
        edges = super().feed(samples)
        self.edges = [*getattr(self, "edges", []), *(edge.kind for edge in edges)]
        return edges


class SetCall(ScriptedCall):
    """A scripted call whose client says `settings`, and whose model gives `odds` at once where there are some."""

    def __init__(self, ears: Ears, settings: list[dict[str, Any]], odds: float | None = None) -> None:
        self.judged: list[int] = []
        self._odds = odds
        super().__init__(ears)
        for number, session in enumerate(settings):
            event = {"type": "session.update", "session": session}
            self._at(0.1 + 0.1 * number, lambda event=event: self._client(event))  # type: ignore[misc]
        self.say(SPOKEN_S[0], noise(SPOKEN_S[1] - SPOKEN_S[0], 4_000.0))

    def judge_end(self, position: int, heard: Any, silence_ms: float) -> None:
        self.judged.append(position)
        if self._odds is not None:
            self._in(self._now - 1000.0 + 0.05, inputs.EndJudged(position, self._odds))

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type."""
        return [event for event in self.events if event["type"] == kind]

    def silence_ms(self) -> float:
        """How long the person was silent when their turn was over."""
        assert self.told("input_audio_buffer.committed")
        return 1000 * (self.committed_at - SPOKEN_S[1])

    def send_event(self, text: str) -> None:
        super().send_event(text)
        if self.events[-1]["type"] == "input_audio_buffer.committed":
            self.committed_at = self._now - 1000.0


def played(*settings: dict[str, Any], odds: float | None = None) -> tuple[SetCall, Ears]:
    ears = Ears()
    call = SetCall(ears, list(settings), odds)
    call.run(5.5)
    assert ears.edges[:2] == [EdgeKind.STARTED, EdgeKind.STOPPED]
    return call, ears


@cache
def usual() -> SetCall:
    """The call of a client that sets nothing."""
    return played()[0]


def test_a_plain_silence_is_kept():
    asked = {"type": "server_vad", "threshold": 0.8, "silence_duration_ms": 1_200, "prefix_padding_ms": 100}
    call, ears = played({"turn_detection": asked})
    assert call.told("session.updated")[-1]["session"]["turn_detection"] == asked
    assert 1_000 < call.silence_ms() < 1_300
    assert ears.thresholds == (0.8, pytest.approx(0.65))


def test_nonsense_changes_nothing_else_either():
    asked, bad = {"type": "server_vad", "silence_duration_ms": 1_200}, {"type": "server_vad", "silence_duration_ms": -1}
    call, _ = played({"turn_detection": asked}, {"turn_detection": bad, "instructions": "be brief"})
    (error,) = call.told("error")
    assert error["error"]["param"] == "session.turn_detection.silence_duration_ms"
    assert 1_000 < call.silence_ms() < 1_300
    assert all(event["session"]["instructions"] == "" for event in call.told("session.updated"))


def test_the_eager_are_answered_sooner():
    call, _ = played({"turn_detection": {"type": "semantic_vad", "eagerness": "high"}})
    assert call.silence_ms() < usual().silence_ms() - 100


def test_a_model_that_is_sure_ends_the_turn_sooner():
    sure, _ = played(odds=1e3)
    assert usual().judged == sure.judged
    assert len(sure.judged) == 1
    assert sure.silence_ms() < usual().silence_ms() - 50
