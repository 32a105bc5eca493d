"""The benchmarks' own parts: what they compute from what they see, and that every budget is measured once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from model_server.engine import SpeechChunk, TextChunk
from model_server.protocol import GenerateOptions
from realtime.connection.frames import AudioMessage
from realtime.media.units import UnitCutter
from realtime.replay.log_file import read_log
from realtime.replay.records import EventOut
from tests.bench import __main__ as bench
from tests.bench import (
    barge_in,
    clock_slip,
    detector_latency,
    leading_silence,
    mouth_to_ear,
    replay,
    report,
    slow_engine,
)
from tests.bench.budgets import Budget, load
from tests.bench.gateway import percentile_ms
from tests.bench.lossy_link import _with_candidate
from tests.bench.measurement import Measurement, Options, Repetitions
from tests.bench.network import Sent, arrivals, packets
from tests.bench.plan import MEASUREMENTS
from tests.bench.sound import room_noise, room_packets
from tests.bench.stale import Watcher
from tests.bench.tone_engine import CHUNK, PEAK, ToneSession, tone


def test_every_budget_is_measured_exactly_once() -> None:
    measured = Counter(row for measurement in MEASUREMENTS for row in measurement.rows)
    promised = {name for name in load() if not name.startswith("soak_")}
    assert measured == dict.fromkeys(promised, 1)


@pytest.mark.parametrize(
    ("statistic", "value"),
    [("median", 3.0), ("p50", 3.0), ("p95", 80.8), ("p99", 96.16), ("max", 100.0), ("sum", 110.0)],
)
def test_a_budget_takes_its_statistic(statistic: str, value: float) -> None:
    budget = Budget("row", "what", "ms", statistic)  # type: ignore[arg-type]
    assert budget.value([1, 2, 3, 4, 100]) == pytest.approx(value)


def test_a_row_without_repetitions_or_above_its_limit_is_missed() -> None:
    budget = Budget("row", "what", "ms", "median", 2.0)
    assert [report.row(budget, found).ok for found in ([], [2.1], [2.0])] == [False, False, True]
    assert report.row(Budget("row", "what", "ms", "median"), [1e9]).ok


def test_the_rows_of_the_json_file(tmp_path: Path) -> None:
    report.write_json([report.row(Budget("row", "what", "ms", "median", 2.0), [1, 3])], tmp_path / "bench.json")
    (row,) = json.loads((tmp_path / "bench.json").read_text())
    assert list(row) == ["name", "value", "spread", "unit", "budget", "ok", "load"]
    assert row["value"] == 2.0
    assert row["spread"] == [1.5, 2.5]


def test_the_table_replaces_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    budget = Budget("row", "what it is", "ms", "median", 2.0)
    report.write_docs([report.row(budget, [1, 3])], {"row": budget}, page)
    text = page.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n| row |")
    assert "| what it is | 2 ms | 1.5 .. 2.5 | 2 |" in text
    assert text.endswith(f"{report.END}\nafter\n")
    assert "old" not in text


async def test_a_measurement_that_breaks_misses_its_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(options: Options) -> Repetitions:
        raise RuntimeError("no gateway")

    async def works(options: Options) -> Repetitions:
        return {"clock_slip": [0.0]}

    measurements = (Measurement(("leading_silence",), breaks), Measurement(("clock_slip",), works))
    monkeypatch.setattr(bench, "MEASUREMENTS", measurements)
    rows = await bench.run(bench.arguments([]))
    assert [(row.name, row.ok) for row in rows] == [("leading_silence", False), ("clock_slip", True)]


def test_only_takes_parts_of_names() -> None:
    assert [each.rows for each in bench.chosen(["clock_s"])] == [("clock_slip",)]
    with pytest.raises(SystemExit):
        bench.arguments(["--only", "nothing_of_this_name"])


def test_percentile_between_two_readings_of_a_histogram() -> None:
    before = {0.01: 100.0, 0.05: 100.0, 0.1: 100.0, float("inf"): 100.0}
    after = {0.01: 190.0, 0.05: 200.0, 0.1: 200.0, float("inf"): 200.0}
    assert percentile_ms(before, after, 0.5) == pytest.approx(1000 * 0.01 * 50 / 90)
    assert percentile_ms(before, after, 0.95) == pytest.approx(30.0)
    assert percentile_ms(before, {**after, float("inf"): 300.0}, 0.99) == pytest.approx(100.0)


def test_the_network_loses_its_share_and_keeps_time() -> None:
    sent = list(packets(5_000, loss=0.05, rng=np.random.default_rng(1)))
    lost = sum(packet.at is None for packet in sent)
    assert 200 <= lost <= 300
    arrived = arrivals(iter(sent))
    assert [at for at, _ in arrived] == sorted(at for at, _ in arrived)
    assert all(at >= index * 0.02 for at, index in arrived)


def test_detector_latency_counts_the_wait_behind_a_lost_packet() -> None:
    payloads = room_packets(1)
    with_loss = [Sent(index, None if index == 50 else index * 0.02) for index in range(100)]
    waits = detector_latency.waits(payloads, with_loss)
    assert 50 not in waits
    assert waits[51].waited_ms >= 20
    assert waits[49].waited_ms == waits[90].waited_ms == 0
    assert all(wait.total_ms > wait.waited_ms for wait in waits.values())


def test_clock_slip_sees_a_receiver_that_loses_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock_slip.slip(200e-6, 60, seed=1) == 0
    monkeypatch.setattr(UnitCutter, "append", lambda self, samples: [])
    assert clock_slip.slip(200e-6, 60, seed=1) != 0


def test_slow_engine_notices_lost_audio() -> None:
    server = slow_engine.listen(seed=1)
    assert slow_engine.samples_lost(server, seed=1) == 0
    del server.taken[3]
    assert slow_engine.samples_lost(server, seed=1) == 16_000


def test_delays_pair_each_mouth_with_the_next_ear() -> None:
    sounds = [
        {"input": 0, "begin": 1.0, "end": 1.1},
        {"input": 1, "begin": 1.05, "end": 1.15},
        {"input": 0, "begin": 2.0, "end": 2.1},
        {"input": 1, "begin": 2.06, "end": 2.16},
        {"input": 0, "begin": 3.0, "end": 3.1},
    ]
    assert mouth_to_ear.delays(sounds, 1) == pytest.approx([50.0, 60.0])
    assert mouth_to_ear.delays(sounds, 2) == []


def test_stale_sound_ends_with_the_sound_or_with_the_mute() -> None:
    sounds = [{"input": 2, "begin": 0.0, "end": 5.2}, {"input": 2, "begin": 6.0, "end": 7.0}]
    assert barge_in.stale_ms(sounds, [], 5.0) == pytest.approx(200.0)
    assert barge_in.stale_ms(sounds, [{"muted": True, "time": 5.15}], 5.0) == pytest.approx(150.0)
    assert barge_in.stale_ms(sounds, [{"muted": True, "time": 4.0}], 5.0) == pytest.approx(200.0)


def test_leading_silence_counts_quiet_samples_and_a_late_position() -> None:
    loud = np.full(480, 1000, "<i2").tobytes()
    half = np.concatenate([np.zeros(240, "<i2"), np.full(240, 1000, "<i2")]).tobytes()
    assert leading_silence.leading_ms([AudioMessage(1, 480, loud), AudioMessage(1, 0, half)]) == pytest.approx(10.0)
    assert leading_silence.leading_ms([AudioMessage(1, 480, loud)]) == pytest.approx(20.0)
    assert leading_silence.leading_ms([AudioMessage(1, 0, loud)]) == 0.0


class SilentCall:
    """Stands in for a call: takes what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, object]] = []

    def send(self, **event: object) -> None:
        self.sent.append(event)


def test_stale_is_counted_after_the_cut_only() -> None:
    watcher = Watcher(SilentCall(), seed=1)  # type: ignore[arg-type]
    delta = {"type": "response.output_audio_transcript.delta", "response_id": "resp_1", "delta": "x"}
    watcher._event({"type": "response.created", "response": {"id": "resp_1"}, "number": 1})
    watcher._event(delta)
    watcher._audio(AudioMessage(1, 0, b""))
    watcher._event({"type": "output_audio_buffer.cleared", "response_id": "resp_1"})
    watcher._event({"type": "response.done", "response": {"id": "resp_1", "status": "cancelled"}})
    assert (watcher.stale_audio, watcher.stale_text) == (0, 0)
    watcher._event(delta)
    watcher._audio(AudioMessage(1, 480, b""))
    watcher._audio(AudioMessage(2, 0, b""))
    assert (watcher.stale_audio, watcher.stale_text) == (1, 1)


def test_a_description_gets_the_relay_as_its_only_candidate() -> None:
    sdp = (
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\n"
        "a=candidate:2 1 udp 1 127.0.0.1 6 typ host\r\na=mid:0\r\n"
    )
    relayed = _with_candidate(sdp, 4321)
    assert relayed.count("a=candidate:") == 1
    assert "127.0.0.1 4321 typ host\r\na=mid:0" in relayed


async def test_the_tone_starts_loud_and_has_no_seams() -> None:
    wave = np.frombuffer(tone(CHUNK) * 2, "<i2").astype(int)
    assert wave[0] == PEAK
    assert np.max(np.abs(np.diff(wave))) < 0.12 * PEAK
    session = ToneSession(tone(CHUNK))
    chunks = session.streaming_generate(GenerateOptions())
    assert isinstance(await anext(chunks), TextChunk)
    assert isinstance(await anext(chunks), SpeechChunk)
    await chunks.aclose()


def test_the_room_is_as_quiet_as_it_says() -> None:
    room = room_noise(1).astype(float)
    assert 20 * np.log10(np.sqrt(np.mean(room**2)) / 32768) == pytest.approx(-60, abs=0.5)


async def test_a_replay_that_differs_has_no_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "CALL_S", 2.0)
    await replay.recorded(tmp_path / "call.log")
    records = list(read_log(tmp_path / "call.log"))
    assert 0 < replay.ms_per_second(records) < float("inf")
    place = next(i for i, each in enumerate(records) if isinstance(each, EventOut))
    records[place] = EventOut("something else")
    with pytest.raises(AssertionError):
        replay.ms_per_second(records)
