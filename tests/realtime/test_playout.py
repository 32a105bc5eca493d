"""Playout: tables of what an engine says and a page reports, and what goes out when."""

import itertools

import pytest

from realtime.connection.frames import AudioMessage
from realtime.output.playout import Credit, Ended, Playout, PlayoutError, PlayoutOverflow
from realtime.output.utterance import FADE_SAMPLES

MS = 24


def pcm(ms: float, first: int = 0) -> bytes:
    """Speech whose samples count upwards, so that every one can be told from every other."""
    return b"".join(((first + n) % 65536).to_bytes(2, "little") for n in range(round(ms * MS)))


def talking(ms: float = 1000.0, *, finish: bool = True, rtt_ms: float = 0.0) -> Playout:
    playout = Playout()
    playout.set_rtt(rtt_ms)
    playout.begin("r1", 1, 0.0)
    assert playout.speech("r1", 0, pcm(ms), 0.0)
    if finish:
        playout.finish("r1", 0.0)
    return playout


def sent_ms(messages: list[AudioMessage]) -> float:
    return sum(len(message.pcm) for message in messages) / 2 / MS


def run(playout: Playout, start: float, end: float, step: float = 0.005) -> list[tuple[float, AudioMessage]]:
    """Poll by the clock, as a call without other events would."""
    times = itertools.takewhile(lambda t: t <= end, (start + step * n for n in itertools.count()))
    return [(now, message) for now in times for message in playout.poll(now).messages]


# What goes out ------------------------------------------------------------------------------------------------------


def test_the_first_chunk_leaves_in_the_same_poll_up_to_the_lead() -> None:
    messages, deadline = talking().poll(0.0)
    assert sent_ms(messages) == 200
    assert [message.position for message in messages] == [480 * n for n in range(10)]
    assert all(len(message.pcm) == 960 for message in messages)
    assert deadline == pytest.approx(0.02, abs=1e-3)


def test_a_first_chunk_that_fills_no_message_leaves_at_once_all_the_same() -> None:
    playout = talking(10, finish=False)
    (message,) = playout.poll(0.0).messages
    assert message == AudioMessage(1, 0, pcm(10))


@pytest.mark.parametrize(
    ("rtt_ms", "jitter_ms", "lead_ms"), [(0, 0, 200), (100, 20, 320), (200, 0, 400), (500, 100, 600)]
)
def test_the_lead_grows_with_round_trip_and_jitter_up_to_600_ms(
    rtt_ms: float, jitter_ms: float, lead_ms: float
) -> None:
    playout = talking()
    playout.set_rtt(rtt_ms, jitter_ms)
    assert sent_ms(playout.poll(0.0).messages) == lead_ms


def test_before_the_first_report_it_goes_on_at_real_time_for_a_second() -> None:
    playout = talking(3000)
    sent = run(playout, 0.0, 3.0)
    at_300 = sum(len(message.pcm) for now, message in sent if now <= 0.3) / 2 / MS
    assert at_300 == 500
    assert sent_ms([message for _, message in sent]) == 1200
    assert playout.poll(3.0).deadline is None


def test_reports_let_it_go_on() -> None:
    playout = talking(3000)
    run(playout, 0.0, 2.0)
    assert playout.ack("r1", 1190, False, 2.0)
    assert sent_ms(playout.poll(2.0).messages) == pytest.approx(180)
    assert sent_ms([message for _, message in run(playout, 2.0, 2.1)]) == pytest.approx(100)


def test_the_deadline_is_when_the_next_message_goes() -> None:
    playout = talking(3000)
    now, gaps = 0.0, []
    for _ in range(15):
        deadline = playout.poll(now).deadline
        assert deadline is not None
        assert deadline > now
        gaps.append(deadline - now)
        now = deadline
    assert gaps == pytest.approx([0.02] * 15, abs=0.001)


def test_an_incomplete_message_waits_for_more_while_the_page_has_enough() -> None:
    playout = talking(210, finish=False)
    assert sent_ms(playout.poll(0.0).messages) == 200
    assert run(playout, 0.0, 0.07) == []
    assert playout.speech("r1", 210 * MS, pcm(10), 0.07)
    (message,) = playout.poll(0.07).messages
    assert (message.position, len(message.pcm)) == (200 * MS, 960)


def test_an_incomplete_message_goes_before_the_page_runs_dry() -> None:
    playout = talking(210, finish=False)
    sent = run(playout, 0.0, 0.2)
    assert sent[-1][1] == AudioMessage(1, 200 * MS, pcm(210)[9600:])
    assert 0.08 <= sent[-1][0] <= 0.1


def test_the_last_message_says_so_and_is_repeated_three_times_40_ms_apart() -> None:
    playout = talking(50)
    sent = run(playout, 0.0, 0.3)
    flagged = [(round(now, 2), message) for now, message in sent if message.last]
    assert flagged[0] == (0.0, AudioMessage(1, 960, pcm(50)[1920:], last=True))
    trailer = AudioMessage(1, 50 * MS, b"", last=True)
    assert flagged[1:] == [(0.04, trailer), (0.08, trailer), (0.12, trailer)]


def test_a_late_finish_is_told_by_the_first_trailer_at_once() -> None:
    playout = talking(40, finish=False)
    assert not any(message.last for message in playout.poll(0.0).messages)
    playout.finish("r1", 0.03)
    assert playout.poll(0.03).messages == [AudioMessage(1, 40 * MS, b"", last=True)]


def test_a_response_without_speech_ends_at_once_and_sends_nothing() -> None:
    playout = Playout()
    playout.begin("r1", 1, 0.0)
    playout.finish("r1", 0.0)
    assert playout.poll(0.0) == ([], None)
    assert playout.ended() == [Ended("r1", 0.0)]
    assert playout.speaking is None


# Its end ------------------------------------------------------------------------------------------------------------


def test_the_last_report_ends_it() -> None:
    playout = talking(100)
    run(playout, 0.0, 0.15)
    assert playout.ended() == []
    assert playout.ack("r1", 100, True, 0.2)
    playout.poll(0.2)
    assert playout.ended() == [Ended("r1", 100.0)]
    assert playout.ended() == []
    assert playout.heard_ms("r1", 9.0) == 100


def test_a_page_that_never_reports_is_waited_for_until_it_must_have_played_all() -> None:
    playout = talking(100)
    run(playout, 0.0, 1.1)
    assert playout.ended() == []
    deadline = playout.poll(1.1).deadline
    assert deadline == pytest.approx(0.12 + 0.1 + 1.0, abs=0.01)
    assert deadline is not None
    playout.poll(deadline)
    assert playout.ended() == [Ended("r1", 100.0)]
    assert playout.stats.pages_silent == 1


def test_a_final_report_in_the_middle_is_a_report_like_any_other() -> None:
    playout = talking(2000)
    run(playout, 0.0, 0.2)
    assert playout.ack("r1", 190, True, 0.2)
    run(playout, 0.2, 0.4)
    assert playout.ack("r1", 380, False, 0.4)
    assert playout.ended() == []


def test_the_next_response_waits_for_the_one_before() -> None:
    playout = talking(100)
    playout.begin("r2", 2, 0.0)
    playout.speech("r2", 0, pcm(100), 0.0)
    sent = [message.number for _, message in run(playout, 0.0, 0.2)]
    assert set(sent) == {1}
    playout.ack("r1", 100, True, 0.2)
    assert {message.number for message in playout.poll(0.2).messages} == {2}
    assert playout.speaking == "r2"


# Cutting and holding ------------------------------------------------------------------------------------------------


def test_nothing_of_a_cleared_response_goes_out() -> None:
    playout = talking(2000)
    playout.poll(0.0)
    playout.clear("r1", 0.1)
    assert run(playout, 0.1, 1.0) == []
    assert not playout.speech("r1", 2000 * MS, pcm(20), 0.2)
    playout.finish("r1", 0.2)
    assert playout.poll(0.3) == ([], None)
    assert playout.stats.stale == 2
    assert playout.ended() == []


def test_what_was_heard_of_a_cleared_response_is_the_pages_last_word() -> None:
    playout = talking(2000)
    playout.poll(0.0)
    playout.clear("r1", 0.1)
    assert playout.heard_ms("r1", 5.0) == pytest.approx(100)
    assert playout.ack("r1", 87, True, 0.15)
    assert playout.heard_ms("r1", 5.0) == 87
    assert not playout.ack("r1", 95, True, 0.2)


def test_a_response_cleared_before_its_first_message_may_still_be_answered() -> None:
    playout = Playout()
    playout.begin("r1", 1, 0.0)
    playout.clear("r1", 0.0)
    assert playout.ack("r1", 0, True, 0.1)
    assert playout.heard_ms("r1", 0.2) == 0


def test_clearing_lets_the_next_response_speak_even_out_of_a_pause() -> None:
    playout = talking(2000)
    playout.poll(0.0)
    playout.begin("r2", 2, 0.05)
    playout.speech("r2", 0, pcm(100), 0.05)
    playout.pause(0.05)
    playout.clear("r1", 0.1)
    assert {message.number for message in playout.poll(0.1).messages} == {2}


def test_clearing_what_is_over_or_unknown_is_no_error() -> None:
    playout = talking(20)
    playout.clear("nobody", 0.0)
    assert sent_ms(playout.poll(0.0).messages) == 20


def test_a_pause_stops_sending_and_the_estimate_and_resuming_goes_on() -> None:
    playout = talking(2000)
    playout.poll(0.0)
    playout.pause(0.1)
    assert run(playout, 0.1, 1.0) == []
    assert playout.poll(1.0).deadline is None
    assert playout.heard_ms("r1", 1.0) == pytest.approx(100)
    playout.resume(1.0)
    sent = [message for _, message in run(playout, 1.0, 1.1)]
    assert sent[0].position == 200 * MS
    assert sent_ms(sent) == pytest.approx(200)
    assert playout.heard_ms("r1", 1.1) == pytest.approx(200)


def test_reports_during_a_pause_are_taken() -> None:
    playout = talking(2000)
    playout.poll(0.0)
    playout.pause(0.1)
    assert playout.ack("r1", 130, False, 0.2)
    assert playout.heard_ms("r1", 0.9) == 130


def test_pausing_twice_or_resuming_without_a_pause_changes_nothing() -> None:
    playout = Playout()
    playout.pause(0.0)
    playout.resume(0.0)
    playout.begin("r1", 1, 0.0)
    playout.speech("r1", 0, pcm(1000), 0.0)
    playout.resume(0.0)
    playout.poll(0.0)
    playout.pause(0.1)
    playout.pause(0.2)
    assert playout.heard_ms("r1", 0.3) == pytest.approx(100)


# Reports and credit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response_id", "played_ms"), [("r1", 230.0), ("r1", float("nan")), ("r1", float("inf")), ("r9", 10.0)]
)
def test_impossible_reports_are_counted_and_change_nothing(response_id: str, played_ms: float) -> None:
    playout = talking(1000)
    playout.poll(0.0)
    assert not playout.ack(response_id, played_ms, False, 0.1)
    assert playout.stats.acks_ignored == 1
    assert playout.heard_ms("r1", 0.1) == pytest.approx(100)


def test_a_report_from_the_past_is_counted_and_changes_nothing() -> None:
    playout = talking(1000)
    playout.poll(0.0)
    playout.ack("r1", 150, False, 0.1)
    assert not playout.ack("r1", 100, False, 0.1)
    assert playout.heard_ms("r1", 0.1) == 150


def test_a_page_may_be_less_than_a_message_ahead_by_rounding() -> None:
    playout = talking(100)
    playout.poll(0.0)
    assert playout.ack("r1", 115, True, 0.2)
    assert playout.heard_ms("r1", 0.2) == 100


def test_credit_is_news_and_at_most_every_200_ms() -> None:
    playout = talking(1000, finish=False)
    credits = []
    for step in range(100):
        now = step / 100
        playout.poll(now)
        playout.ack("r1", min(800.0, now * 1000), False, now)
        credits.append((now, playout.credit(now)))
    told = [(now, credit) for now, credit in credits if credit is not None]
    assert all(later - earlier >= 0.199 for (earlier, _), (later, _) in itertools.pairwise(told))
    assert [credit.ms for _, credit in told] == sorted({credit.ms for _, credit in told})
    assert told[-1][1].ms == 800
    assert told[0][1].response_id == "r1"


def test_no_credit_for_an_engine_that_is_done() -> None:
    playout = talking(1000)
    playout.poll(0.0)
    assert playout.credit(0.3) is None


def test_credit_follows_the_response() -> None:
    playout = talking(1000, finish=False)
    playout.poll(0.0)
    assert playout.credit(0.1) == Credit("r1", 100)
    playout.clear("r1", 0.2)
    playout.begin("r2", 2, 0.2)
    playout.speech("r2", 0, pcm(500), 0.2)
    playout.poll(0.2)
    assert playout.credit(0.325) == Credit("r2", 125)


# Broken engines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "speech", "words"),
    [
        (1, pcm(20), "next sample of r1 is 480, got 1"),
        (481, pcm(20), "next sample of r1 is 480, got 481"),
        (480, b"\0" * 3, "even number of bytes, got 3"),
    ],
)
def test_gaps_overlaps_and_half_samples_are_refused(position: int, speech: bytes, words: str) -> None:
    playout = talking(20, finish=False)
    with pytest.raises(PlayoutError, match=words):
        playout.speech("r1", position, speech, 0.0)
    assert playout.speech("r1", 480, pcm(20), 0.0)


def test_speech_after_the_end_is_refused() -> None:
    playout = talking(20)
    with pytest.raises(PlayoutError, match="finished"):
        playout.speech("r1", 480, pcm(20), 0.0)


def test_six_seconds_may_wait_and_no_more() -> None:
    playout = talking(1000, finish=False)
    for second in range(1, 6):
        playout.speech("r1", second * 24_000, pcm(1000), 0.0)
    with pytest.raises(PlayoutOverflow, match="honour `played`"):
        playout.speech("r1", 6 * 24_000, pcm(20), 0.0)
    playout.poll(0.0)
    assert playout.speech("r1", 6 * 24_000, pcm(20), 0.0)


def test_numbers_and_ids_are_used_once() -> None:
    playout = talking(20)
    with pytest.raises(PlayoutError, match="more than 1, got 1"):
        playout.begin("r2", 1, 0.0)
    with pytest.raises(PlayoutError, match="already begun"):
        playout.begin("r1", 2, 0.0)


def test_only_a_few_responses_may_wait() -> None:
    playout = Playout()
    for number in range(1, 6):
        playout.begin(f"r{number}", number, 0.0)
    with pytest.raises(PlayoutOverflow, match="clear one first"):
        playout.begin("r6", 6, 0.0)


# Without reports ----------------------------------------------------------------------------------------------------


def on_track(ms: float) -> Playout:
    playout = Playout(mode="track")
    playout.set_rtt(40)
    playout.begin("r1", 1, 0.0)
    playout.speech("r1", 0, pcm(ms), 0.0)
    playout.finish("r1", 0.0)
    return playout


def test_a_track_gets_its_speech_at_real_time_with_60_ms_in_hand() -> None:
    sent = run(on_track(1000), 0.0, 0.5)
    assert sent_ms([message for now, message in sent if now == 0.0]) == 60
    assert sent_ms([message for _, message in sent]) == 560


def test_heard_on_a_track_is_what_was_sent_less_half_a_round_trip_and_100_ms() -> None:
    playout = on_track(1000)
    run(playout, 0.0, 0.5)
    assert playout.heard_ms("r1", 0.5) == pytest.approx(500 - 120)
    assert playout.heard_ms("r1", 0.1) == 0
    assert not playout.reported


def test_a_track_ends_when_the_last_sample_has_left_the_loudspeaker() -> None:
    playout = on_track(100)
    run(playout, 0.0, 0.2)
    assert playout.ended() == []
    run(playout, 0.2, 0.23)
    assert playout.ended() == [Ended("r1", 100.0)]


def test_a_track_takes_no_reports() -> None:
    playout = on_track(1000)
    run(playout, 0.0, 0.3)
    assert not playout.ack("r1", 40, False, 0.3)
    assert playout.heard_ms("r1", 0.3) == pytest.approx(180)


def test_a_word_that_is_said_again_was_heard_before() -> None:
    playout = talking(1_000)
    playout.poll(0.0)
    run(playout, 0.0, 0.25)
    assert playout.ack("r1", 300, False, 0.3)
    playout.pause(0.3)
    playout.resume(0.5, 200.0)
    assert playout.playing_ms("r1", 0.5) == pytest.approx(200)
    assert playout.heard_ms("r1", 0.5) == pytest.approx(300)
    assert playout.ack("r1", 250, False, 0.55)
    assert playout.heard_ms("r1", 0.55) == pytest.approx(300)
    playout.clear("r1", 0.55)
    assert playout.ack("r1", 260, True, 0.6)
    assert playout.heard_ms("r1", 0.6) == pytest.approx(300)


def test_what_was_not_played_yet_is_not_said_again() -> None:
    playout = talking(1_000)
    run(playout, 0.0, 0.25)
    assert playout.ack("r1", 200, False, 0.25)
    playout.pause(0.25)
    playout.resume(0.5, 400.0)
    assert playout.heard_ms("r1", 0.5) == pytest.approx(200)


def test_a_track_is_sent_the_cut_word_again() -> None:
    playout = on_track(1000)
    before = b"".join(message.pcm for _, message in run(playout, 0.0, 0.5))
    assert before.strip(b"\0")
    playout.pause(0.5)
    heard_ms = playout.heard_ms("r1", 0.5)
    playout.resume(1.0, 150.0)
    again = run(playout, 1.0, 1.2)
    assert again[0][1].position == 150 * 24
    said = b"".join(message.pcm for _, message in again)
    faded = 2 * FADE_SAMPLES
    assert said[:2] == b"\0\0"
    assert said[faded : len(before) - 2 * 150 * 24] == before[2 * 150 * 24 :][faded : len(said)]
    assert playout.heard_ms("r1", 1.2) == heard_ms
    run(playout, 1.2, 2.3)
    assert playout.ended() == [Ended("r1", 1000.0)]


def test_a_track_goes_back_no_further_than_it_remembers() -> None:
    playout = on_track(4000)
    run(playout, 0.0, 3.0)
    playout.pause(3.0)
    playout.resume(3.5, 0.0)
    sent_ms = 3_060
    assert run(playout, 3.5, 3.51)[0][1].position == (sent_ms - 1_500) * 24


def test_an_engine_that_is_far_ahead_may_go_on_after_a_track_went_back() -> None:
    playout = Playout(mode="track")
    playout.begin("r1", 1, 0.0)
    playout.speech("r1", 0, bytes(2 * 24_000), 0.0)
    run(playout, 0.0, 1.0)
    playout.pause(1.0)
    playout.resume(1.5, 100.0)
    assert playout.speech("r1", 24_000, bytes(2 * 6 * 24_000), 1.5)
