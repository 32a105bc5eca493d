"""The taps: that aiortc's private seams are there, and that media flows through them in a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aioice.ice
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from aiortc.rtp import RtpPacket
from structlog.testing import capture_logs

from realtime.media.pictures import read_jpeg_header
from realtime.media.video import CODECS, JITTER_BUFFER, KEY_FRAME_EVERY_S, AudioTap, KeyFrameTap

TIMEOUT_S = 20.0


@pytest.fixture
async def connected(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """A sender with microphone and camera, and a receiver whose tracks are known but not yet answered."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    sender, receiver = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    sender.addTrack(AudioStreamTrack())
    sender.addTrack(VideoStreamTrack())
    await sender.setLocalDescription(await sender.createOffer())
    await receiver.setRemoteDescription(sender.localDescription)
    yield sender, receiver
    await sender.close()
    await receiver.close()


async def answer(sender: RTCPeerConnection, receiver: RTCPeerConnection) -> None:
    await receiver.setLocalDescription(await receiver.createAnswer())
    await sender.setRemoteDescription(receiver.localDescription)


def receivers(connection: RTCPeerConnection) -> dict[str, RTCRtpReceiver]:
    return {transceiver.kind: transceiver.receiver for transceiver in connection.getTransceivers()}


async def test_the_seams_are_there(connected: tuple[RTCPeerConnection, RTCPeerConnection]) -> None:
    for receiver in receivers(connected[1]).values():
        assert isinstance(getattr(receiver, JITTER_BUFFER), JitterBuffer)
        assert isinstance(getattr(receiver, CODECS), dict)


async def test_every_audio_packet_comes_to_the_callback_and_none_to_aiortcs_decoder(
    connected: tuple[RTCPeerConnection, RTCPeerConnection],
) -> None:
    packets: list[RtpPacket] = []
    enough = asyncio.Event()

    def keep(packet: RtpPacket) -> None:
        packets.append(packet)
        if len(packets) >= 10:
            enough.set()

    microphone = receivers(connected[1])["audio"]
    setattr(microphone, JITTER_BUFFER, AudioTap(keep))
    await answer(*connected)
    await asyncio.wait_for(enough.wait(), TIMEOUT_S)

    assert [packet.timestamp - packets[0].timestamp for packet in packets] == [960 * n for n in range(len(packets))]
    assert all(packet.payload for packet in packets)
    counted = sum(
        report.packetsReceived for report in (await microphone.getStats()).values() if report.type == "inbound-rtp"
    )
    assert counted >= len(packets)
    assert microphone.track._queue.empty()


async def test_the_newest_key_frame_becomes_a_picture_and_no_frame_is_decoded_by_aiortc(
    connected: tuple[RTCPeerConnection, RTCPeerConnection],
) -> None:
    camera = receivers(connected[1])["video"]
    tap, arrived = KeyFrameTap(camera), asyncio.Event()
    keep = tap._keep

    def watch(packet: RtpPacket) -> None:
        keep(packet)
        if tap.has_new:
            arrived.set()

    tap._keep = watch  # type: ignore[method-assign]
    await answer(*connected)
    await asyncio.wait_for(arrived.wait(), TIMEOUT_S)
    jpeg = await asyncio.to_thread(tap.newest_jpeg)

    assert jpeg is not None
    info = read_jpeg_header(jpeg, 300_000)
    assert info.width / info.height == pytest.approx(640 / 480, rel=0.02)
    assert camera.track._queue.empty()


class FakeReceiver:
    """What a tap needs of a receiver."""

    def __init__(self) -> None:
        setattr(self, CODECS, {97: SimpleNamespace(name="VP8")})


def video_packet(data: bytes = b"\x01") -> Any:
    packet = RtpPacket(payload_type=97, payload=b"\x10" + data, marker=1)
    packet._data = data  # type: ignore[attr-defined]
    return packet


def test_a_key_frame_is_asked_for_once_a_second() -> None:
    now = 100.0
    tap = KeyFrameTap(FakeReceiver(), clock=lambda: now)  # type: ignore[arg-type]
    asked = []
    for step in range(90):
        now = 100.0 + step / 30
        if tap.add(video_packet())[0]:
            asked.append(now)
    assert len(asked) == 3
    assert asked[1] - asked[0] == pytest.approx(KEY_FRAME_EVERY_S, abs=0.04)


def test_a_picture_is_given_once() -> None:
    tap = KeyFrameTap(FakeReceiver())  # type: ignore[arg-type]
    assert not tap.has_new
    assert tap.newest_jpeg() is None
    assert tap.add(video_packet(data=b""))[1] is None


@pytest.mark.parametrize("make", ["audio", "video"])
def test_an_error_of_ours_does_not_reach_aiortc_and_is_logged(make: str) -> None:
    def fail(packet: RtpPacket) -> None:
        raise RuntimeError("broken")

    tap = AudioTap(fail) if make == "audio" else KeyFrameTap(FakeReceiver())  # type: ignore[arg-type]
    packet = video_packet()
    packet.payload_type = 111
    with capture_logs() as logs:
        assert tap.add(packet)[1] is None
    assert [(entry["event"], entry["payload_type"]) for entry in logs] == [("packet_dropped", 111)]
