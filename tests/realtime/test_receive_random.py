"""The receive path under random networks and senders: the line of samples never breaks."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.media.receive import MAX_AHEAD, MAX_FILL, AudioReceiver, FrameKind
from realtime.media.reorder import DEPTH
from tests.realtime.network import (
    FRAME,
    FRAME_S,
    GARBAGE,
    RTP_STEP,
    Arriving,
    CountingDecoder,
    assert_gapless,
    by_arrival,
    frames_of,
    line_of,
    play,
    sent,
    value_of,
)

RATE = 16_000
SEEDS = st.integers(0, 2**32 - 1)


def rough(packets: list[Arriving], seed: int, loss: float, jitter_s: float, doubled: float) -> list[Arriving]:
    """Random loss, jitter (which reorders) and duplicates. The first packet arrives first."""
    dice = random.Random(seed)
    arriving: list[Arriving] = [packets[0]]
    for packet in packets[1:]:
        copies = 0 if dice.random() < loss else 2 if dice.random() < doubled else 1
        arriving += [replace(packet, at=packet.at + dice.random() * jitter_s) for _ in range(copies)]
    return by_arrival(arriving)


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    loss=st.floats(0, 0.5),
    jitter_s=st.floats(0, 0.09),
    doubled=st.floats(0, 0.3),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFF_FFFF),
)
def test_whatever_the_network_does_samples_stand_where_rtp_time_says(
    seed: int, loss: float, jitter_s: float, doubled: float, sequence: int, timestamp: int
) -> None:
    packets = sent(300, sequence=sequence, timestamp=timestamp)
    arrivals = rough(packets, seed, loss, jitter_s, doubled)
    receiver = AudioReceiver(CountingDecoder(), now=0.0)
    frames = frames_of(play(receiver, arrivals, until=arrivals[-1].at + 0.1))

    assert_gapless(frames)
    for frame in frames:
        if frame.kind is FrameKind.RECEIVED:
            assert frame.position == (int(frame.samples[0]) - 1) * FRAME
    assert receiver.stats.reanchored == 0
    assert receiver.position == (max(packet.number for packet in arrivals) + 1) * FRAME


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["packet", "garbage", "empty", "mute", "halt", "jump", "ssrc", "restart", "stall", "burst"]),
        st.floats(0, 1),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS)
def test_whatever_the_sender_does_the_line_has_no_gap_and_follows_the_clock(steps: list[tuple[str, float]]) -> None:
    receiver = AudioReceiver(CountingDecoder(), now=0.0)
    now, sequence, timestamp, ssrc, number = 0.0, 65_500, 2**32 - 9_000, 1, 0
    frames = []

    def send(count: int, payload: bytes | None = None, spacing: float = FRAME_S) -> None:
        nonlocal now, sequence, timestamp, number
        for arriving in sent(count, first=number, sequence=sequence - number, timestamp=timestamp - number * RTP_STEP):
            now += spacing
            packet = replace(arriving.packet, ssrc=ssrc)
            packet = packet if payload is None else replace(packet, payload=payload)
            frames.extend(frames_of(play(receiver, [Arriving(now, number, packet)])))
            assert receiver.waiting <= DEPTH
            number, sequence, timestamp = number + 1, sequence + 1, timestamp + RTP_STEP

    for kind, amount in steps:
        match kind:
            case "packet":
                send(1 + int(20 * amount))
            case "burst":
                send(1 + int(20 * amount), spacing=0.0005)
            case "garbage":
                send(1 + int(10 * amount), GARBAGE)
            case "empty":
                send(1 + int(10 * amount), b"")
            case "mute":
                now += 8 * amount
                timestamp += round(8 * amount * 48_000)
            case "halt":
                now += 8 * amount
            case "jump":
                timestamp += round((amount - 0.5) * 2**31)
            case "ssrc":
                ssrc = int(amount * 3)
            case "restart":
                sequence = int(amount * 65_535)
            case "stall":
                now += amount
                frames.extend(receiver.tick(now))
        frames.extend(frames_of(play(receiver, [], until=now)))
        assert receiver.position <= now * RATE + MAX_AHEAD + MAX_FILL
    frames.extend(frames_of(play(receiver, [], until=now + 10)))

    assert_gapless(frames)
    # The media clock is the sender's: where it halts for less than we would notice (or while we stood still ourselves,
    # at most a second here), the call is that much shorter than the time that passed.
    halts = sum(kind in ("halt", "jump", "stall") for kind, _ in steps)
    assert receiver.position >= (now + 10 - 0.25 - halts) * RATE


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_ticks_at_any_time_change_no_received_sample(seed: int) -> None:
    dice = random.Random(seed)
    receiver = AudioReceiver(CountingDecoder(), now=0.0)
    frames = []
    for arriving in sent(200):
        for _ in range(dice.randrange(3)):
            frames += receiver.tick(arriving.at - dice.random() * FRAME_S)
        frames += receiver.receive(arriving.packet, arriving.at)

    assert_gapless(frames)
    assert list(line_of(frames)[::FRAME]) == [value_of(number) for number in range(200)]
