"""A sender, a network and a clock for the receive path: tables of (arrival, packet) that are played without waiting."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from realtime.media.decoder import DecodeError, Samples
from realtime.media.receive import AudioFrame, AudioPacket, AudioReceiver

FRAME = 320
"""Samples of one packet: 20 ms at 16 kHz."""

FRAME_S = 0.02
RTP_STEP = 960
CONCEALED = -1
"""Value of every sample that `CountingDecoder` makes up."""

GARBAGE = b"\xff"


class CountingDecoder:
    """A cheap decoder whose samples say which packet they are from: packet `n` is 320 times `1 + n % 30 000`."""

    def __init__(self) -> None:
        self.resets = 0
        self.followed: list[bytes | None] = []

    def decode(self, payload: bytes) -> Samples:
        if payload == GARBAGE:
            raise DecodeError("garbage")
        (number,) = struct.unpack(">I", payload)
        return np.full(FRAME, value_of(number), dtype=np.int16)

    def conceal(self, samples: int, following: bytes | None) -> Samples:
        self.followed.append(following)
        return np.full(samples, CONCEALED, dtype=np.int16)

    def reset(self) -> None:
        self.resets += 1


def value_of(number: int) -> int:
    """The sample value of packet `number`."""
    return 1 + number % 30_000


@dataclass(frozen=True, slots=True)
class Arriving:
    """A packet and when it arrives (seconds). `number` counts the sender's packets."""

    at: float
    number: int
    packet: AudioPacket


def sent(
    count: int,
    *,
    start: float = 0.0,
    first: int = 0,
    sequence: int = 1_000,
    timestamp: int = 50_000,
    ssrc: int = 1,
    ppm: float = 0.0,
    encode: Callable[[int], bytes] = lambda number: struct.pack(">I", number),
) -> list[Arriving]:
    """`count` packets of 20 ms that arrive as they are sent, the first at `start` + 20 ms.

    `ppm` is how slow the sender's clock is; `sequence` and `timestamp` are those of packet 0.
    """
    step = FRAME_S * (1 + ppm * 1e-6)
    return [
        Arriving(
            start + (number - first + 1) * step,
            number,
            AudioPacket(ssrc, sequence + number & 0xFFFF, timestamp + number * RTP_STEP & 0xFFFF_FFFF, encode(number)),
        )
        for number in range(first, first + count)
    ]


def lose(packets: Iterable[Arriving], *numbers: int) -> list[Arriving]:
    """Without the packets `numbers`."""
    return [packet for packet in packets if packet.number not in numbers]


def lose_share(packets: Iterable[Arriving], share: float, seed: int) -> list[Arriving]:
    """Without a random `share` of the packets; the first stays."""
    random_number = random.Random(seed)
    return [packet for packet in packets if random_number.random() >= share or packet.number == 0]


def delay(packets: Iterable[Arriving], number: int, seconds: float) -> list[Arriving]:
    """Packet `number` arrives `seconds` later."""
    return by_arrival(
        replace(packet, at=packet.at + seconds) if packet.number == number else packet for packet in packets
    )


def by_arrival(packets: Iterable[Arriving]) -> list[Arriving]:
    """In the order of arrival; ties keep theirs."""
    return sorted(packets, key=lambda packet: packet.at)


@dataclass(frozen=True, slots=True)
class Heard:
    """Frames that came out at `at`, because packet `number` arrived (None: a tick)."""

    at: float
    number: int | None
    frames: list[AudioFrame]


def play(receiver: AudioReceiver, arrivals: Iterable[Arriving], until: float | None = None) -> list[Heard]:
    """Give every packet at its time and tick whenever the receiver asks to, up to the last packet or `until`."""
    heard: list[Heard] = []

    def tick_to(time: float) -> None:
        while receiver.deadline < time:
            at = receiver.deadline
            heard.append(Heard(at, None, receiver.tick(at)))
            assert receiver.deadline > at, "a tick at the deadline must move the deadline"

    for arriving in arrivals:
        tick_to(arriving.at)
        heard.append(Heard(arriving.at, arriving.number, receiver.receive(arriving.packet, arriving.at)))
    if until is not None:
        tick_to(until)
    return heard


def frames_of(heard: Iterable[Heard]) -> list[AudioFrame]:
    """All frames, in order."""
    return [frame for moment in heard for frame in moment.frames]


def assert_gapless(frames: list[AudioFrame]) -> None:
    """Every sample from 0 on exactly once, in order."""
    position = 0
    for frame in frames:
        assert frame.position == position
        assert len(frame.samples) > 0
        assert frame.samples.dtype == np.int16
        position = frame.end


def line_of(frames: list[AudioFrame]) -> Samples:
    """The samples of all frames as one line."""
    return np.concatenate([frame.samples for frame in frames]) if frames else np.empty(0, dtype=np.int16)


def place_of(line: Samples, number: int) -> int:
    """Position of the first sample of packet `number`; -1 when none is there."""
    places = np.flatnonzero(line == value_of(number))
    return int(places[0]) if len(places) else -1
