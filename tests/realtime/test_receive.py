"""The receive path by tables: what the network does, and what must come out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realtime.media.receive import AudioFrame, AudioReceiver, FrameKind
from tests.realtime.network import (
    CONCEALED,
    FRAME,
    FRAME_S,
    GARBAGE,
    Arriving,
    CountingDecoder,
    Heard,
    assert_gapless,
    by_arrival,
    delay,
    frames_of,
    line_of,
    lose,
    lose_share,
    place_of,
    play,
    sent,
    value_of,
)

RATE = 16_000


def heard_by(arrivals: list[Arriving], until: float | None = None) -> tuple[AudioReceiver, list[Heard]]:
    receiver = AudioReceiver(CountingDecoder(), now=0.0)
    heard = play(receiver, arrivals, until)
    assert_gapless(frames_of(heard))
    return receiver, heard


def kinds(frames: list[AudioFrame]) -> dict[FrameKind, int]:
    """Samples of each kind."""
    return {kind: sum(len(frame.samples) for frame in frames if frame.kind is kind) for kind in FrameKind}


# ------------------------------------------------------------------------------------------------------ order


def test_without_loss_every_packet_comes_out_at_once_and_whole() -> None:
    receiver, heard = heard_by(sent(100))

    assert [moment.number for moment in heard] == list(range(100))
    for moment in heard:
        (frame,) = moment.frames
        assert frame.kind is FrameKind.RECEIVED
        assert frame.position == moment.number * FRAME
        assert (frame.samples == value_of(moment.number)).all()
    assert receiver.stats.received == 100
    assert receiver.stats.lost == receiver.stats.late == receiver.stats.reordered == 0


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_a_packet_overtaken_by_up_to_two_others_is_put_back_in_its_place(gap: int) -> None:
    arrivals = delay(sent(30), 10, (gap - 0.5) * FRAME_S)
    receiver, heard = heard_by(arrivals)

    assert kinds(frames_of(heard))[FrameKind.RECEIVED] == 30 * FRAME
    assert list(line_of(frames_of(heard))) == [value_of(n) for n in range(30) for _ in range(FRAME)]
    assert receiver.stats.lost == 0
    assert receiver.stats.reordered == gap - 1


def test_a_packet_after_its_place_was_given_up_is_late_and_changes_nothing() -> None:
    receiver, heard = heard_by(delay(sent(30), 10, 5.5 * FRAME_S))

    line = line_of(frames_of(heard))
    assert len(line) == 30 * FRAME
    assert (line[10 * FRAME : 11 * FRAME] == CONCEALED).all()
    assert receiver.stats.late == 1
    assert receiver.stats.lost == 1


def test_duplicates_are_dropped_wherever_they_come() -> None:
    packets = sent(30)
    again = [replace(packets[n], at=packets[n].at + wait) for n, wait in [(3, 0.0), (7, 0.03), (12, 1e-6), (20, 0.15)]]
    # While 15 is missing, 16 waits and comes a second time.
    arrivals = by_arrival([*lose(packets, 15), *again, replace(packets[16], at=packets[16].at + 0.001)])
    receiver, heard = heard_by(arrivals)

    assert receiver.stats.duplicate == 5
    assert receiver.stats.late == 0
    assert len(line_of(frames_of(heard))) == 30 * FRAME


def test_sequence_numbers_and_timestamps_wrap_around() -> None:
    arrivals = lose(sent(100, sequence=0xFFFF - 20, timestamp=0xFFFF_FFFF - 40 * 960), 20, 21, 41)
    receiver, heard = heard_by(delay(arrivals, 60, 1.5 * FRAME_S))

    line = line_of(frames_of(heard))
    assert len(line) == 100 * FRAME
    for number in set(range(100)) - {20, 21, 41}:
        assert place_of(line, number) == number * FRAME
    assert receiver.stats.lost == 3
    assert receiver.stats.reanchored == 0


# ------------------------------------------------------------------------------------------------------ loss


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.20])
def test_random_loss_keeps_every_sample_in_its_place(share: float) -> None:
    arrivals = lose_share(sent(3_000), share, seed=7)
    receiver, heard = heard_by(arrivals, until=arrivals[-1].at + 0.1)

    line = line_of(frames_of(heard))
    arrived = {arriving.number for arriving in arrivals}
    expected = np.repeat([value_of(n) if n in arrived else 0 for n in range(max(arrived) + 1)], FRAME)
    real = expected != 0
    assert len(line) == len(expected)
    assert (line[real] == expected[real]).all()
    assert np.isin(line[~real], [CONCEALED, 0]).all()
    assert receiver.stats.lost == max(arrived) + 1 - len(arrived)
    assert receiver.stats.late == receiver.stats.reanchored == 0


def waits(arrivals: list[Arriving], heard: list[Heard]) -> dict[int, float]:
    """How long each arrived packet waited for its samples to come out, in seconds."""
    out: dict[int, float] = {}
    for moment in heard:
        for frame in moment.frames:
            if frame.kind is FrameKind.RECEIVED:
                out[frame.position // FRAME] = moment.at
    return {arriving.number: out[arriving.number] - arriving.at for arriving in arrivals}


@pytest.mark.parametrize(("share", "limit"), [(0.0, 0.0), (0.01, 0.06), (0.05, 0.06), (0.20, 0.06)])
def test_no_packet_waits_longer_than_the_bound(share: float, limit: float) -> None:
    arrivals = lose_share(sent(3_000), share, seed=3)
    _, heard = heard_by(arrivals, until=arrivals[-1].at + 0.1)

    assert max(waits(arrivals, heard).values()) <= limit + 1e-6


def test_after_a_loss_the_delay_is_gone_with_the_third_packet() -> None:
    arrivals = lose(sent(50), 20)
    _, heard = heard_by(arrivals)

    waited = waits(arrivals, heard)
    assert waited[21] == pytest.approx(2 * FRAME_S)
    assert waited[22] == pytest.approx(FRAME_S)
    assert all(waited[number] == 0 for number in range(23, 50))


def test_a_gap_at_the_end_of_speech_is_given_up_by_time() -> None:
    arrivals = lose(sent(22), 20)
    _, heard = heard_by(arrivals, until=arrivals[-1].at + 0.1)

    last = next(moment for moment in heard if moment.number is None and moment.frames)
    assert last.at == pytest.approx(arrivals[-1].at + 0.06)
    assert [frame.kind for frame in last.frames] == [FrameKind.CONCEALED, FrameKind.RECEIVED]


def test_short_gaps_are_concealed_with_the_packet_behind_them_and_long_ones_end_in_silence() -> None:
    decoder = CountingDecoder()
    receiver = AudioReceiver(decoder, now=0.0)
    packets = sent(60)
    heard = play(receiver, lose(packets, 10, *range(30, 38)))

    frames = frames_of(heard)
    assert_gapless(frames)
    assert decoder.followed == [packets[11].packet.payload, None]
    assert kinds(frames)[FrameKind.CONCEALED] == FRAME + 1_600
    assert kinds(frames)[FrameKind.SILENCE] == 8 * FRAME - 1_600
    assert receiver.stats.concealed_ms == 120
    assert receiver.stats.silence_ms == 60


def test_garbage_counts_as_lost_and_is_concealed_at_once() -> None:
    packets = sent(40)
    broken = [
        replace(arriving, packet=replace(arriving.packet, payload=GARBAGE)) if arriving.number in (10, 11) else arriving
        for arriving in packets
    ]
    receiver, heard = heard_by(broken)

    assert receiver.stats.decode_errors == 2
    assert [frame.kind for frame in heard[10].frames] == [FrameKind.CONCEALED]
    assert len(line_of(frames_of(heard))) == 40 * FRAME
    assert place_of(line_of(frames_of(heard)), 12) == 12 * FRAME


def test_nothing_but_garbage_is_silence_after_a_tenth_of_a_second() -> None:
    broken = [replace(arriving, packet=replace(arriving.packet, payload=GARBAGE)) for arriving in sent(100)]
    receiver, heard = heard_by(broken)

    assert receiver.stats.concealed_ms == 100
    assert kinds(frames_of(heard))[FrameKind.SILENCE] == 100 * FRAME - 1_600


def test_an_empty_payload_holds_a_number_but_no_audio() -> None:
    packets = sent(30)
    probe = replace(packets[10], packet=replace(packets[10].packet, payload=b""))
    receiver, heard = heard_by([*packets[:10], probe, *packets[11:]])

    assert receiver.stats.lost == receiver.stats.decode_errors == 0
    line = line_of(frames_of(heard))
    assert (line[10 * FRAME : 11 * FRAME] == 0).all()
    assert place_of(line, 11) == 11 * FRAME


# ------------------------------------------------------------------------------------------------------ clocks


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_an_hour_of_a_drifting_sender_has_no_slip(ppm: float) -> None:
    receiver = AudioReceiver(CountingDecoder(), now=0.0)
    count = 3_600 * 50
    position = 0
    for arriving in sent(count, ppm=ppm):
        if arriving.number % 101 == 100:
            continue
        assert receiver.deadline > arriving.at
        for frame in receiver.receive(arriving.packet, arriving.at):
            assert frame.position == position
            position = frame.end
    assert position == count * FRAME
    assert receiver.stats.reanchored == 0
    assert receiver.stats.dropped_ms == 0


def test_silence_goes_on_by_the_servers_clock_while_nothing_comes() -> None:
    _, heard = heard_by(sent(50), until=10.0)

    silent = [moment for moment in heard if moment.number is None]
    assert silent[0].at == pytest.approx(1.0 + 0.2)
    for moment in silent:
        assert moment.frames[-1].end == pytest.approx((moment.at - 0.1) * RATE, abs=1)
    assert np.diff([moment.at for moment in silent]).max() == pytest.approx(FRAME_S)


def test_silence_begins_without_any_packet() -> None:
    receiver, heard = heard_by([], until=5.0)

    assert receiver.position == pytest.approx((5.0 - 0.1) * RATE, abs=FRAME)
    assert kinds(frames_of(heard))[FrameKind.RECEIVED] == 0


@pytest.mark.parametrize("muted_s", [0.1, 0.3, 1.0, 30.0])
def test_after_a_mute_packets_stand_where_rtp_time_says(muted_s: float) -> None:
    muted = round(muted_s / FRAME_S)
    before = sent(100)
    after = [
        replace(arriving, packet=replace(arriving.packet, sequence=arriving.packet.sequence - muted & 0xFFFF))
        for arriving in sent(100, start=2.0 + muted * FRAME_S, first=100 + muted)
    ]
    receiver, heard = heard_by([*before, *after])

    line = line_of(frames_of(heard))
    assert place_of(line, 100 + muted) == (100 + muted) * FRAME
    assert len(line) == (200 + muted) * FRAME
    assert receiver.stats.lost == 0
    assert receiver.stats.concealed_ms == 0
    assert receiver.stats.dropped_ms == 0
    assert receiver.stats.silence_ms == pytest.approx(muted * 20)


def test_samples_for_a_place_that_was_filled_are_dropped_and_the_rest_keeps_its_place() -> None:
    # A network that stands still for 350 ms, then delivers everything it held.
    packets = [
        replace(arriving, at=max(arriving.at, 1.35) if arriving.at > 1.0 else arriving.at) for arriving in sent(200)
    ]
    receiver, heard = heard_by(packets)

    line = line_of(frames_of(heard))
    assert len(line) == 200 * FRAME
    filled = round((0.34 - 0.1) / FRAME_S) * FRAME
    assert (line[50 * FRAME : 50 * FRAME + filled] == 0).all()
    for number in range(63, 200):
        assert place_of(line, number) == number * FRAME
    assert receiver.stats.dropped_ms == receiver.stats.silence_ms == 1000 * filled / RATE
    assert receiver.stats.reanchored == 0


def test_a_path_that_becomes_slower_for_good_costs_only_what_was_filled() -> None:
    packets = [replace(arriving, at=arriving.at + (0.3 if arriving.number >= 100 else 0.0)) for arriving in sent(300)]
    receiver, heard = heard_by(packets)

    assert len(line_of(frames_of(heard))) == 300 * FRAME
    assert receiver.stats.dropped_ms == receiver.stats.silence_ms <= 220
    assert receiver.stats.reanchored == 0


def test_an_rtp_clock_that_stood_still_during_a_mute_goes_on_behind_the_silence() -> None:
    # Some senders stop their RTP clock with the microphone: sequence and time go on as if nothing had been.
    packets = [replace(arriving, at=arriving.at + (5.0 if arriving.number >= 100 else 0.0)) for arriving in sent(300)]
    receiver, heard = heard_by(packets)

    line = line_of(frames_of(heard))
    assert receiver.stats.reanchored == 1
    assert receiver.stats.dropped_ms <= 120
    assert place_of(line, 106) > 0
    assert (line[place_of(line, 106) :] == np.repeat([value_of(n) for n in range(106, 300)], FRAME)).all()


def test_seconds_that_the_network_held_back_are_not_mistaken_for_a_stopped_clock() -> None:
    # Nothing for three seconds, then everything in its order, one packet a millisecond until the present is reached.
    held = [
        replace(arriving, at=max(arriving.at, 5.0 + (arriving.number - 100) * 0.001))
        if arriving.number >= 100
        else arriving
        for arriving in sent(400)
    ]
    receiver, heard = heard_by(held)

    line = line_of(frames_of(heard))
    assert len(line) == 400 * FRAME
    assert place_of(line, 399) == 399 * FRAME
    assert receiver.stats.reanchored == 0


def test_dtx_is_silence_between_comfort_packets_and_the_next_word_is_whole() -> None:
    # Opus DTX: one packet every 400 ms, sequence numbers without gaps, timestamps that advance.
    numbers = [*range(50), *range(50, 250, 20), *range(250, 300)]
    arrivals = [
        replace(arriving, packet=replace(arriving.packet, sequence=2_000 + place))
        for place, arriving in enumerate(packet for packet in sent(300) if packet.number in set(numbers))
    ]
    receiver, heard = heard_by(arrivals)

    line = line_of(frames_of(heard))
    assert len(line) == 300 * FRAME
    for number in numbers:
        assert place_of(line, number) == number * FRAME
    assert receiver.stats.lost == receiver.stats.late == receiver.stats.reanchored == 0
    assert kinds(frames_of(heard))[FrameKind.CONCEALED] == 0


def test_jitter_within_the_lag_of_the_fill_loses_nothing_after_dtx() -> None:
    quiet = sent(50)
    speech = [
        replace(
            arriving, at=arriving.at + 0.075, packet=replace(arriving.packet, sequence=1_000 + arriving.number - 100)
        )
        for arriving in sent(50, start=3.0, first=150)
    ]
    receiver, heard = heard_by([*quiet, *speech])

    assert receiver.stats.dropped_ms == 0
    assert place_of(line_of(frames_of(heard)), 150) == 150 * FRAME


# ------------------------------------------------------------------------------------------------------ streams


def test_another_ssrc_goes_on_by_the_servers_clock() -> None:
    decoder = CountingDecoder()
    receiver = AudioReceiver(decoder, now=0.0)
    old = sent(100, ssrc=1)
    new = sent(100, ssrc=2, start=2.1, first=500, sequence=40_000, timestamp=3_000_000_000)
    straggler = replace(old[-1], at=2.125)
    heard = play(receiver, by_arrival([*old[:-1], *new, straggler]))

    frames = frames_of(heard)
    assert_gapless(frames)
    line = line_of(frames)
    assert place_of(line, 500) == pytest.approx(2.1 * RATE, abs=1)
    assert (line[place_of(line, 500) :] == np.repeat([value_of(n) for n in range(500, 600)], FRAME)).all()
    assert decoder.resets == 1
    assert receiver.stats.late == 1


def test_what_waited_of_the_old_ssrc_comes_out_before_the_new_one() -> None:
    old = lose(sent(30, ssrc=1), 28)
    new = sent(30, ssrc=2, start=0.6, first=500)
    _, heard = heard_by([*old, *new])

    line = line_of(frames_of(heard))
    assert place_of(line, 29) == 29 * FRAME
    assert place_of(line, 500) == 30 * FRAME


def test_a_track_that_stops_and_returns_with_new_numbers_goes_on() -> None:
    first = sent(100)
    second = sent(100, start=8.0, first=700, sequence=12_345, timestamp=987_654_321)
    receiver, heard = heard_by([*first, *second])

    line = line_of(frames_of(heard))
    assert place_of(line, 701) == pytest.approx(8.02 * RATE, abs=2 * FRAME)
    assert (line[place_of(line, 701) :] == np.repeat([value_of(n) for n in range(701, 800)], FRAME)).all()
    assert receiver.stats.late == 1, "the packet that announced the new numbers"


def test_one_stray_sequence_number_changes_nothing() -> None:
    packets = sent(60)
    stray = replace(packets[30], at=packets[30].at + 0.001, packet=replace(packets[30].packet, sequence=50_000))
    receiver, heard = heard_by(by_arrival([*packets, stray]))

    assert len(line_of(frames_of(heard))) == 60 * FRAME
    assert receiver.stats.late == 1
    assert receiver.stats.lost == 0


@pytest.mark.parametrize("jump_s", [3_600, -3_600, 6, -1, 20_000])
def test_a_timestamp_that_jumps_is_placed_by_the_servers_clock(jump_s: int) -> None:
    shifted = [
        replace(
            arriving,
            packet=replace(arriving.packet, timestamp=arriving.packet.timestamp + jump_s * 48_000 & 0xFFFF_FFFF),
        )
        for arriving in sent(100, start=2.0, first=100)
    ]
    receiver, heard = heard_by([*sent(100), *shifted])

    line = line_of(frames_of(heard))
    assert len(line) == 200 * FRAME
    assert place_of(line, 100) == 100 * FRAME
    assert receiver.stats.reanchored == 1


@pytest.mark.parametrize("step_s", [0.04, 0.5, 2.9])
def test_a_sender_whose_clock_races_cannot_stretch_the_call(step_s: float) -> None:
    packets = [
        replace(
            arriving, packet=replace(arriving.packet, timestamp=round(arriving.number * step_s * 48_000) & 0xFFFF_FFFF)
        )
        for arriving in sent(1_000)
    ]
    receiver, _ = heard_by(packets)

    assert receiver.position <= (20.0 + 3.1) * RATE


def test_a_clock_that_never_moves_cannot_stop_the_call() -> None:
    packets = [replace(arriving, packet=replace(arriving.packet, timestamp=7)) for arriving in sent(500)]
    receiver, _ = heard_by(packets)

    assert receiver.position >= 9.5 * RATE


def test_a_process_that_stood_still_reads_its_socket_before_it_fills() -> None:
    receiver = AudioReceiver(CountingDecoder(), now=0.0)
    packets = sent(100)
    frames = frames_of(play(receiver, packets[:50]))
    # Half a second passes without a turn of the loop; the timer is served before the socket.
    frames += receiver.tick(1.5)
    for arriving in packets[50:75]:
        frames += receiver.receive(arriving.packet, 1.5)
    frames += frames_of(play(receiver, packets[75:]))

    assert_gapless(frames)
    assert kinds(frames) == {FrameKind.RECEIVED: 100 * FRAME, FrameKind.CONCEALED: 0, FrameKind.SILENCE: 0}


def test_a_clock_that_leaps_is_not_filled_for_an_hour() -> None:
    receiver = AudioReceiver(CountingDecoder(), now=0.0)
    play(receiver, sent(50), until=2.0)
    before = receiver.position
    for step in range(100):
        receiver.tick(3_602.0 + step * FRAME_S)

    assert receiver.position - before <= (5.0 + 2.0) * RATE
