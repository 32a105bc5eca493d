"""From packets to edges and units: the very same samples reach detector, units and line check."""

from __future__ import annotations

import numpy as np

from realtime.connection.frames import AUDIO_MESSAGE_SAMPLES
from realtime.media.decoder import Samples
from realtime.media.hearing import Edge, Hearing, HearingEvent, InputSilence, UnitClosed
from realtime.media.hearing import Samples as Heard
from realtime.media.line_check import RESPONSE_NUMBER, LineCheck
from realtime.media.receive import AudioPacket, AudioReceiver
from realtime.media.speech import EdgeKind, SpeechEdge

FRAME = 320


class ToneDecoder:
    """Every packet is 20 ms of the number in its first byte."""

    def decode(self, payload: bytes) -> Samples:
        return np.full(FRAME, payload[0] * 100, np.int16)

    def conceal(self, samples: int, following: bytes | None) -> Samples:
        return np.zeros(samples, np.int16)

    def reset(self) -> None: ...


class LoudDetector:
    """Speech is what is louder than 500, at once."""

    speaking = False
    probability = 0.0
    level_db = 0.0
    sure_until = 0

    def __init__(self) -> None:
        self._position = 0

    def feed(self, samples: Samples) -> list[SpeechEdge]:
        position, self._position = self._position, self._position + len(samples)
        loud = bool(np.abs(samples).max(initial=0) > 500)
        if loud == self.speaking:
            return []
        self.speaking = loud
        return [SpeechEdge(EdgeKind.STARTED if loud else EdgeKind.STOPPED, position)]

    def set_thresholds(self, start: float, stop: float) -> None:
        self.thresholds = (start, stop)

    def reset(self) -> None: ...


def hear(loudness: list[int], late_s: float = 0.0) -> tuple[Hearing, list[HearingEvent]]:
    """One packet per 20 ms, each as loud as listed."""
    hearing = Hearing(AudioReceiver(ToneDecoder(), 0.0), LoudDetector(), 0.0)
    events: list[HearingEvent] = []
    for number, level in enumerate(loudness):
        packet = AudioPacket(7, number, number * 960, bytes([level]))
        events += hearing.packet(packet, 0.02 * (number + 1) + late_s)
    return hearing, events


def test_every_sample_is_in_exactly_one_unit():
    _, events = hear([number % 100 for number in range(200)])
    units = [event.unit for event in events if isinstance(event, UnitClosed)]
    frames = np.concatenate([event.pcm for event in events if isinstance(event, Heard)])
    assert [unit.start for unit in units] == [0, 16_000, 32_000, 48_000]
    assert np.array_equal(np.concatenate([unit.samples for unit in units]), frames)


def test_edges_tell_when_their_sample_arrived():
    _, events = hear([0] * 60 + [50] * 30 + [0] * 30)
    edges = [event for event in events if isinstance(event, Edge)]
    assert [edge.started for edge in edges] == [True, False]
    assert [edge.position for edge in edges] == [60 * FRAME, 90 * FRAME]
    assert abs(edges[0].at - 1.20) < 0.001


def test_a_unit_is_voiced_when_the_person_speaks_in_it():
    _, events = hear([0] * 110 + [50] * 30 + [0] * 60)
    voiced = [event.unit.voiced for event in events if isinstance(event, UnitClosed)]
    assert voiced == [False, False, True, False]


def test_a_turn_is_cut_where_it_is_and_the_next_unit_goes_on_there():
    hearing, _ = hear([50] * 70)
    cut = hearing.cutter.cut_turn()
    assert cut is not None
    assert (cut.start, cut.end, cut.last) == (16_000, 70 * FRAME, True)
    assert hearing.cutter.start == 70 * FRAME


def test_a_microphone_of_zeros_is_told_once_and_again_when_it_is_back():
    _, events = hear([0] * 400 + [50] * 5)
    told = [event.silent for event in events if isinstance(event, InputSilence)]
    assert told == [True, False]


def test_lateness_is_counted_from_the_earliest_unit():
    _, events = hear([1] * 150, late_s=0.3)
    late = [event.late_ms for event in events if isinstance(event, UnitClosed)]
    assert len(late) == 3
    assert all(abs(ms - late[0]) < 1 for ms in late)


def test_the_line_check_sends_back_what_it_hears():
    line = LineCheck()
    messages = [message for _ in range(50) for message in line.feed(np.full(FRAME, 3_000, np.int16))]
    assert {message.number for message in messages} == {RESPONSE_NUMBER}
    assert [message.position for message in messages] == [AUDIO_MESSAGE_SAMPLES * n for n in range(len(messages))]
    assert len(messages) >= 49
    assert abs(int(np.frombuffer(messages[10].pcm, "<i2")[100]) - 3_000) < 30


def test_frames_of_a_burst_are_compared_with_what_sounded_when_they_were_heard() -> None:
    asked: list[float] = []

    def played(when: float) -> None:
        asked.append(when)

    hearing = Hearing(AudioReceiver(ToneDecoder(), 0.0), LoudDetector(), 0.0, played)
    for number in range(60):
        prompt = 0.02 * (number + 1)
        # The line stands still for 0.2 s, then all that waited comes at once.
        arrival = max(prompt, 0.8) if prompt > 0.6 else prompt
        hearing.packet(AudioPacket(7, number, number * 960, bytes([1])), arrival)
    spoken = [0.02 * (number + 1) for number in range(60)]
    assert np.allclose(asked, spoken, atol=0.015)
