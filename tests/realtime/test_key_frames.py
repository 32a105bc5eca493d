"""Key frames out of RTP packets: VP8 and H.264 as real encoders make them, whatever the network does."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from aiortc.codecs import depayload
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from realtime.media.key_frames import MAX_BYTES, MAX_FRAMES, KeyFrame, KeyFrameAssembler, VideoPacket
from realtime.media.pictures import read_jpeg_header
from realtime.media.stills import StillError, key_frame_to_jpeg
from tests.realtime.images import frame_of, pixels_of

CODECS = ["VP8", "H264"]
ENCODERS: dict[str, type[Encoder]] = {"VP8": Vp8Encoder, "H264": H264Encoder}
RED, BLUE = (200, 30, 30), (20, 40, 190)


def encoded(
    codec: str, keys: list[bool], *, width: int = 640, height: int = 480, sequence: int = 65_530
) -> list[list[VideoPacket]]:
    """The packets of each frame; `keys` says which of them are key frames, those are blue, the others red."""
    encoder = ENCODERS[codec]()
    parameters = RTCRtpCodecParameters(mimeType=f"video/{codec}", clockRate=90_000, payloadType=97)
    frames: list[list[VideoPacket]] = []
    for number, key in enumerate(keys):
        frame = frame_of(width, height, BLUE if key else RED)
        frame.pts, frame.time_base = number * 3_000, Fraction(1, 90_000)
        payloads, _ = encoder.encode(frame, force_keyframe=key)
        packets = []
        for place, payload in enumerate(payloads):
            last = place == len(payloads) - 1
            data = depayload(parameters, payload)
            packets.append(VideoPacket(codec, 1, sequence & 0xFFFF, number * 3_000, last, payload, data))
            sequence += 1
        frames.append(packets)
    return frames


def flat(frames: list[list[VideoPacket]]) -> list[VideoPacket]:
    return [packet for frame in frames for packet in frame]


def key_frames(assembler: KeyFrameAssembler, packets: list[VideoPacket]) -> list[KeyFrame]:
    return [frame for packet in packets if (frame := assembler.add(packet)) is not None]


@pytest.mark.parametrize("codec", CODECS)
def test_a_key_frame_is_there_with_its_last_packet_and_other_frames_are_not(codec: str) -> None:
    frames = encoded(codec, [True, False, False, True, False])
    assert len(frames[0]) > 1
    assembler = KeyFrameAssembler()
    given = [len(key_frames(assembler, frame)) for frame in frames]
    assert given == [1, 0, 0, 1, 0]


@pytest.mark.parametrize("codec", CODECS)
def test_packets_in_any_order_and_twice_make_the_same_key_frame(codec: str) -> None:
    (frame,) = encoded(codec, [True])
    (wanted,) = key_frames(KeyFrameAssembler(), frame)
    for seed in range(5):
        mixed = [*frame, *frame[:-1]]
        random.Random(seed).shuffle(mixed)
        found = key_frames(KeyFrameAssembler(), mixed)
        assert found[0] == wanted


@pytest.mark.parametrize("codec", CODECS)
def test_a_key_frame_with_a_lost_packet_is_whole_when_it_was_sent_again(codec: str) -> None:
    frames = encoded(codec, [True, False, False])
    assembler = KeyFrameAssembler()
    for missing in range(len(frames[0])):
        assembler = KeyFrameAssembler()
        packets = [packet for packet in flat(frames) if packet is not frames[0][missing]]
        assert key_frames(assembler, packets) == []
        assert len(key_frames(assembler, [frames[0][missing]])) == 1


@pytest.mark.parametrize("codec", CODECS)
def test_an_older_key_frame_never_follows_a_newer_one(codec: str) -> None:
    frames = encoded(codec, [True, False, True])
    assembler = KeyFrameAssembler()
    assert len(key_frames(assembler, [*frames[0][:-1], *frames[1], *frames[2]])) == 1
    assert key_frames(assembler, frames[0][-1:]) == []


def test_another_ssrc_starts_over() -> None:
    (frame,) = encoded("VP8", [True])
    assembler = KeyFrameAssembler()
    later = [replace(packet, timestamp=packet.timestamp + 9_000) for packet in frame]
    assert len(key_frames(assembler, later)) == 1
    other = [replace(packet, ssrc=2) for packet in frame]
    assert len(key_frames(assembler, other)) == 1


def test_what_is_held_is_bounded() -> None:
    part = VideoPacket("VP8", 1, 0, 0, False, b"\x10", bytes(1_200))
    assembler = KeyFrameAssembler()
    for number in range(5_000):
        packet = replace(part, sequence=number & 0xFFFF, timestamp=number // 3)
        assert assembler.add(packet) is None
        assert assembler.frames <= MAX_FRAMES
    for number in range(5_000):
        assert assembler.add(replace(part, sequence=number, timestamp=10_000)) is None
        assert assembler.buffered <= MAX_BYTES


# ------------------------------------------------------------------------------------------------------ stills


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("size", "max_side", "wanted"),
    [((640, 480), 1_024, (640, 480)), ((1_280, 720), 640, (640, 360)), ((480, 854), 427, (240, 426))],
)
def test_a_key_frame_becomes_a_jpeg_of_the_right_size_and_colour(
    codec: str, size: tuple[int, int], max_side: int, wanted: tuple[int, int]
) -> None:
    (frame,) = key_frames(KeyFrameAssembler(), flat(encoded(codec, [True], width=size[0], height=size[1])))
    jpeg = key_frame_to_jpeg(frame, max_side)

    info = read_jpeg_header(jpeg, 300_000)
    assert (info.width, info.height) == wanted
    middle = np.median(pixels_of(jpeg), axis=(0, 1))
    assert np.abs(middle - np.array(BLUE)).max() < 30


@pytest.mark.parametrize("codec", CODECS)
def test_a_broken_key_frame_is_a_still_error(codec: str) -> None:
    with pytest.raises(StillError, match=codec):
        key_frame_to_jpeg(KeyFrame(codec, b"\x00\x00\x00\x01\x67" + bytes(100)))


def test_a_key_frame_of_another_codec_is_a_still_error() -> None:
    with pytest.raises(StillError, match="VP8, H264 can be decoded, got AV1"):
        key_frame_to_jpeg(KeyFrame("AV1", b"x"))


def test_a_giant_key_frame_is_not_decoded() -> None:
    (frame,) = key_frames(KeyFrameAssembler(), flat(encoded("VP8", [True], width=64, height=48)))
    # RFC 6386 section 9.1: width and height are 14 bits each behind the start code.
    giant = frame.data[:6] + (16_000).to_bytes(2, "little") + (16_000).to_bytes(2, "little") + frame.data[10:]
    with pytest.raises(StillError):
        key_frame_to_jpeg(KeyFrame("VP8", giant))
