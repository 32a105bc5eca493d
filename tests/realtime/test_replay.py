"""A recorded call replays: the same decisions, the same bytes, found wrong where it goes another way."""

from __future__ import annotations

import asyncio
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from realtime.call.inputs import RecordingStopped
from realtime.media.speech import create_detector
from realtime.replay.__main__ import main
from realtime.replay.log_file import MAGIC, LogError, LogTruncated, LogWriter, encode_record, read_log
from realtime.replay.recorder import header_of
from realtime.replay.recording import Recording
from realtime.replay.records import AnyRecord, Decided, EventOut, Header, In, Over
from realtime.replay.replayer import Replayed, replay
from tests.realtime.images import jpeg_of
from tests.realtime.scripted_call import FACTS, ScriptedCall
from tests.realtime.voices import sentence

EXAMPLE = Path(__file__).with_name("logs") / "interrupted.log"
SECONDS = 16.5


async def record(path: Path, seconds: float = SECONDS, **limits: int) -> ScriptedCall:
    """A greeting, a turn with lost packets, an interruption of its answer, a typed sentence; all of it in a log."""
    detector = create_detector()
    recording = Recording(path, header_of(FACTS, detector), **limits)
    call = ScriptedCall(detector, recording, lost=23)
    call.say(1.5, sentence("tell me something about the sea"))
    call.show(2.0, jpeg_of(64, 48))
    call.say(6.2, sentence("wait, please stop, I have another question"))
    call.type_in(14.5, "and now in writing")
    await recording.close(call.run(seconds))
    return call


def played_again(records: list[AnyRecord]) -> Replayed:
    header, *rest = records
    assert isinstance(header, Header)
    return replay(rest, header, create_detector(header.detector))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ScriptedCall]:
    path = tmp_path_factory.mktemp("logs") / "call.log"
    return path, asyncio.run(record(path))


@pytest.fixture
def log(made: tuple[Path, ScriptedCall]) -> Path:
    return made[0]


@pytest.fixture
def call(made: tuple[Path, ScriptedCall]) -> ScriptedCall:
    return made[1]


def test_the_scripted_call_has_all_that_a_call_has(call: ScriptedCall) -> None:
    kinds = [event["type"] for event in call.events]
    assert kinds[0] == "session.created"
    assert call.events[0]["session"]["recording"] is True
    assert kinds.count("response.created") >= 4
    for wanted in ("output_audio_buffer.paused", "output_audio_buffer.cleared", "conversation.item.truncated"):
        assert wanted in kinds
    assert {message.number for message in call.heard} >= {1, 2, 3}


def test_a_replay_gives_the_same_bytes_and_decisions(log: Path) -> None:
    records = list(read_log(log))
    result = played_again(records)
    assert result.difference is None
    assert result.incomplete == ""
    assert result.outputs == sum(1 for record in records if not isinstance(record, Header | In | Over))
    then = [(each.old, each.new, each.reason) for each in records if isinstance(each, Decided)]
    assert [(each.old, each.new, each.reason) for each in result.decisions] == then
    assert ("speaking", "holding") in [(old, new) for old, new, _ in then]


async def test_the_same_call_makes_the_same_log(log: Path, tmp_path: Path) -> None:
    await record(tmp_path / "again.log")
    assert list(read_log(tmp_path / "again.log")) == list(read_log(log))


def test_another_decision_is_found_at_its_time(log: Path) -> None:
    header, *rest = read_log(log)
    assert isinstance(header, Header)
    patient = structs.replace(header, rules=replace(FACTS.rules, silence_ms=900))
    result = replay(rest, patient, create_detector())
    assert result.difference is not None
    assert 2.0 < result.difference.at_s < 6.0


def test_another_byte_is_found(log: Path) -> None:
    records = list(read_log(log))
    place = next(i for i, each in enumerate(records) if isinstance(each, EventOut) and "speech_stopped" in each.text)
    right = records[place]
    assert isinstance(right, EventOut)
    records[place] = wrong = EventOut(right.text.replace("audio_end_ms", "audio_end_mx"))
    difference = played_again(records).difference
    assert difference is not None
    assert (difference.recorded, difference.replayed) == (wrong, right)


def test_what_left_no_more_is_found(log: Path) -> None:
    records = list(read_log(log))
    place = next(i for i, each in enumerate(records) if isinstance(each, EventOut) and "truncated" in each.text)
    records.insert(place + 1, extra := EventOut("{}"))
    difference = played_again(records).difference
    assert difference is not None
    assert difference.recorded == extra


# ------------------------------------------------------------------------------------------------------------ files


def test_a_log_is_for_its_owner_alone(log: Path) -> None:
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_log_that_was_cut_off_is_good_up_to_there(log: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.log"
    cut.write_bytes(log.read_bytes()[:-2_000])
    records: list[AnyRecord] = []
    with pytest.raises(LogTruncated):
        records.extend(read_log(cut))
    read = iter(read_log(cut))
    header = next(read)
    assert isinstance(header, Header)
    result = replay(read, header, create_detector())
    assert result.difference is None
    assert "cut off" in result.incomplete
    assert result.inputs > 500


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "begins with"),
        (b"RIFF and so on", "begins with"),
        (MAGIC + b"no zlib", "damaged"),
        (MAGIC + zlib.compress(b"\xff\xff\xff\xff"), "at most"),
        (MAGIC + zlib.compress(b"\x01\x00\x00\x00\xc1"), "cannot be read"),
        (MAGIC + zlib.compress(b""), "its header, got nothing"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    file = tmp_path / "garbage.log"
    file.write_bytes(data)
    with pytest.raises(LogError, match=says):
        list(read_log(file))
    assert main([str(file)]) == 2


def test_a_log_of_another_format_is_refused(log: Path, tmp_path: Path) -> None:
    header = next(read_log(log))
    assert isinstance(header, Header)
    out = bytearray()
    encode_record(structs.replace(header, format=99), out)
    (tmp_path / "new.log").write_bytes(MAGIC + zlib.compress(bytes(out)))
    with pytest.raises(LogError, match="format 99"):
        list(read_log(tmp_path / "new.log"))


async def test_a_log_that_grows_too_long_ends_and_the_call_goes_on(tmp_path: Path) -> None:
    call = await record(tmp_path / "short.log", max_bytes=20_000)
    assert len(call.heard) > 100
    *_, last = read_log(tmp_path / "short.log")
    assert isinstance(last, Over)
    assert "20000" in last.reason
    assert (tmp_path / "short.log").stat().st_size < 100_000


async def test_a_folder_that_is_gone_ends_the_recording_and_the_call_goes_on(tmp_path: Path) -> None:
    call = await record(tmp_path / "gone" / "call.log", seconds=2.0)
    assert call.events


async def test_a_disk_that_is_too_slow_ends_the_recording_and_the_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    write = LogWriter.write

    def wait_and_write(writer: LogWriter, records: bytes) -> None:
        gate.wait()
        write(writer, records)

    monkeypatch.setattr(LogWriter, "write", wait_and_write)
    monkeypatch.setattr("realtime.replay.recording.MAX_WAITING", 3)
    detector = create_detector()
    recording = Recording(tmp_path / "slow.log", header_of(FACTS, detector))
    call = ScriptedCall(detector, recording)
    end = call.run(8.0)
    assert recording.stopped == "the disk is too slow"
    assert call.heard
    gate.set()
    await recording.close(end)
    *_, last = read_log(tmp_path / "slow.log")
    assert isinstance(last, Over)
    assert last.reason == "the disk is too slow"


def test_a_client_is_told_that_the_recording_has_stopped() -> None:
    call = ScriptedCall(create_detector())
    call.happens(1.0, RecordingStopped())
    call.run(1.5)
    told = [each["session"]["recording"] for each in call.events if each["type"].startswith("session.")]
    assert told == [True, True, False]


# ------------------------------------------------------------------------------------------------------------ a report


def test_the_replayer_says_that_it_is_the_same(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(log), "--decisions"]) == 0
    said = capsys.readouterr().out
    assert "the same" in said
    assert "times real time" in said
    assert "speaking -> holding" in said


def test_an_interrupted_call_goes_as_it_went() -> None:
    """What the floor did then, it does now. Where it is meant to differ: `python -m tests.realtime.test_replay`."""
    assert EXAMPLE.stat().st_size < 100_000
    result = played_again(list(read_log(EXAMPLE)))
    assert result.difference is None, result.difference


if __name__ == "__main__":
    EXAMPLE.unlink(missing_ok=True)
    asyncio.run(record(EXAMPLE))
