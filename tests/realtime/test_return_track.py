"""The Opus return track: what leaves it and when, by a clock that the test owns, and once through two real peers."""

from __future__ import annotations

import asyncio
from typing import Any

import aioice.ice
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpTransceiver
from aiortc.codecs.opus import OpusDecoder, OpusEncoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame
from av.packet import Packet

from realtime.connection.frames import AudioMessage
from realtime.output.return_track import FADE_FRAMES, FRAME_TICKS, TIME_BASE, ReturnTrack, SpeechEncoder


class Clock:
    """Time that moves only when something sleeps, or the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def tone(ms: int, start_ms: int = 0, hz: float = 440.0) -> bytes:
    t = (np.arange(ms * 24) + start_ms * 24) / 24_000
    return (8_000 * np.sin(2 * np.pi * hz * t)).astype("<i2").tobytes()


def spoken(number: int, ms: int) -> AudioMessage:
    return AudioMessage(number, 0, tone(ms))


def track_and_clock() -> tuple[ReturnTrack, Clock]:
    clock = Clock()
    return ReturnTrack(clock, clock.sleep), clock


async def packets(track: ReturnTrack, count: int) -> list[Packet[Any]]:
    return [await track.recv() for _ in range(count)]


def decode(sent: list[Packet[Any]]) -> np.ndarray[Any, Any]:
    decoder = OpusDecoder()
    frames: list[Any] = [f for packet in sent for f in decoder.decode(JitterFrame(bytes(packet), packet.pts or 0))]
    return np.concatenate([frame.to_ndarray().reshape(-1, 2)[:, 0] for frame in frames]).astype(np.float64)


async def test_speech_comes_out_as_it_went_in() -> None:
    track, _ = track_and_clock()
    track.push(AudioMessage(1, 0, tone(200)))
    heard = decode(await packets(track, 11))[::2]
    said = np.frombuffer(tone(200), "<i2").astype(np.float64)
    best = max(np.corrcoef(said[2_000:4_000], heard[2_000 + lag : 4_000 + lag])[0, 1] for lag in range(400))
    assert best > 0.98


async def test_frames_are_20_ms_apart_on_both_clocks() -> None:
    track, clock = track_and_clock()
    track.push(spoken(1, 100))
    times, stamps = [], []
    for _ in range(5):
        stamps.append((await track.recv()).pts)
        times.append(clock.now)
    assert np.diff(np.array(times)) == pytest.approx([0.02] * 4)
    assert stamps == [0, 960, 1920, 2880, 3840]


async def test_a_tail_is_padded_and_followed_by_a_fade_and_then_by_nothing() -> None:
    track, _ = track_and_clock()
    track.push(spoken(1, 30))
    await packets(track, 2 + FADE_FRAMES)
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    track.push(spoken(1, 20))
    assert (await waiting).size > 0


async def test_timestamps_jump_by_the_time_of_a_silence() -> None:
    track, clock = track_and_clock()
    track.push(spoken(1, 20))
    before = (await packets(track, 1 + FADE_FRAMES))[-1].pts
    assert before is not None
    last_due = clock.now
    clock.now += 3.0
    track.push(spoken(1, 20))
    after = (await track.recv()).pts
    assert after == before + round((clock.now - last_due) * 48_000)


async def test_a_late_loop_catches_up_without_a_jump() -> None:
    track, clock = track_and_clock()
    track.push(spoken(1, 100))
    await track.recv()
    clock.now += 0.07
    stamps = [packet.pts for packet in await packets(track, 4)]
    assert stamps == [FRAME_TICKS * n for n in range(1, 5)]


async def test_nothing_flushed_leaves_and_timestamps_go_on() -> None:
    track, _ = track_and_clock()
    track.push(spoken(1, 400))
    first = await packets(track, 3)
    track.flush(1)
    rest = await packets(track, FADE_FRAMES)
    assert np.abs(decode([*first, *rest])[4 * 960 :]).max() < 200
    track.push(spoken(2, 20))
    stamps = [packet.pts for packet in [*first, *rest, await track.recv()]]
    assert stamps == [FRAME_TICKS * n for n in range(4 + FADE_FRAMES)]


async def test_late_messages_of_a_flushed_response_are_dropped_and_counted() -> None:
    track, _ = track_and_clock()
    track.flush(3)
    track.push(spoken(2, 20))
    track.push(spoken(3, 20))
    track.push(spoken(4, 40))
    assert track.stale == 2
    assert len(await packets(track, 2 + FADE_FRAMES)) == 2 + FADE_FRAMES


async def test_a_flush_between_push_and_pull_ends_in_a_fade_and_not_in_endless_silence() -> None:
    track, _ = track_and_clock()
    track.push(spoken(1, 20))
    await packets(track, 1 + FADE_FRAMES)
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    track.push(spoken(1, 20))
    track.flush(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    track.stop()
    with pytest.raises(MediaStreamError):
        await waiting


async def test_when_nobody_pulls_the_oldest_speech_goes() -> None:
    track, _ = track_and_clock()
    for _ in range(50):
        track.push(spoken(1, 20))
    assert track.dropped_bytes == 24_000
    assert len(await packets(track, 25)) == 25


async def test_stopping_ends_a_waiting_pull() -> None:
    track, _ = track_and_clock()
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    track.stop()
    with pytest.raises(MediaStreamError):
        await waiting


def test_one_packet_per_frame_at_about_32_kbit() -> None:
    encoder = SpeechEncoder()
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 3_000, 24_000).astype("<i2").tobytes()
    sizes = [len(encoder.encode(noise[start : start + 960])) for start in range(0, 48_000, 960)]
    assert min(sizes) > 0
    assert sum(sizes) * 8 < 40_000


def test_aiortc_takes_finished_packets_as_they_are() -> None:
    packet: Packet[Any] = Packet(b"opus")
    packet.pts, packet.time_base = 96_000, TIME_BASE
    assert OpusEncoder().pack(packet) == ([b"opus"], 96_000)


async def test_a_client_hears_it_through_a_real_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    ours, theirs = RTCPeerConnection(), RTCPeerConnection()
    track = ReturnTrack()
    try:
        received = await _connect(ours, theirs, track)
        for start in range(0, 400, 20):
            track.push(AudioMessage(1, start * 24, tone(20, start)))
        loud = 0
        async with asyncio.timeout(10):
            while loud < 5:
                frame = await received.recv()
                assert isinstance(frame, AudioFrame)
                loud += int(np.abs(frame.to_ndarray()).max() > 4_000)
    finally:
        track.stop()
        await ours.close()
        await theirs.close()


async def _connect(ours: RTCPeerConnection, theirs: RTCPeerConnection, track: ReturnTrack) -> MediaStreamTrack:
    """Their offer to receive, our answer with the track; returns what they hear."""
    transceiver: RTCRtpTransceiver = theirs.addTransceiver("audio", direction="recvonly")
    receiver: RTCRtpReceiver = transceiver.receiver
    await theirs.setLocalDescription(await theirs.createOffer())
    await ours.setRemoteDescription(theirs.localDescription)
    answering = ours.getTransceivers()[0]
    answering.sender.replaceTrack(track)
    answering.direction = "sendonly"
    await ours.setLocalDescription(await ours.createAnswer())
    await theirs.setRemoteDescription(ours.localDescription)
    return receiver.track
