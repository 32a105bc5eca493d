"""The floor bench's own parts: what it measures must be what it says."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from model_server.protocol import Speech
from realtime.connection.frames import AudioMessage
from realtime.events import PlaybackAck
from realtime.session.spoken import SpokenText
from tests.bench.floor import picture, playing, table
from tests.bench.floor.conditions import Condition, UnknownCondition, parse
from tests.bench.floor.page import STEP_S, Page
from tests.bench.floor.people import CLAUSES, quantile, somebody
from tests.bench.floor.replies import AHEAD_MS, TOKEN, render, unmarked
from tests.bench.floor.room import Echo
from tests.bench.floor.rows import Row, load, measure
from tests.bench.floor.scenarios import play
from tests.bench.floor.verdicts import bin_name
from tests.bench.floor.voices import ESPEAK, FLITE, Voice, active_rms, say
from tests.bench.floor.words import LONG_REPLIES


def test_every_row_names_a_condition_and_has_one_limit_at_most() -> None:
    for row in load().values():
        parse(row.condition)
        assert row.most is None or row.least is None


def test_a_condition_says_what_its_name_says() -> None:
    assert parse("pauses.flat.noise10.loss1.rtt50.webrtc") == Condition(
        "pauses", contour="flat", noise_db=10, loss=0.01, rtt_ms=50, detector="webrtc"
    )
    assert parse("overlap.words.echo20.tuning").what == "words"
    assert parse("overlap.words.stranger.echo10").stranger
    assert (parse("pauses.usual400").usual_ms, parse("pauses.silence400").silence_ms) == (400, 400)


@pytest.mark.parametrize("name", ["meeting.flat", "pauses.wind7", "pauses.fl-at"])
def test_a_condition_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(UnknownCondition):
        parse(name)


def test_voices_to_tune_with_are_never_judged() -> None:
    for names in (ESPEAK, FLITE):
        assert not set(names["tuning"]) & set(names["unseen"])


def test_a_voice_is_trimmed_and_level() -> None:
    sound = say(Voice("en-us+f4"), "tell me a story.")
    assert active_rms(sound) == pytest.approx(1.0, rel=0.05)
    assert np.abs(sound[:160]).max() > 0.01


def test_a_flat_voice_has_no_melody() -> None:
    flat = say(Voice("en-us+m7", melody=0), "what colour do you think it is.")
    lively = say(Voice("en-us+m7", melody=70), "what colour do you think it is.")
    assert _pitch_spread(flat) < 0.5 * _pitch_spread(lively)


def _pitch_spread(sound: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Spread of the strongest lag of each loud 40 ms."""
    lags = []
    for start in range(0, len(sound) - 640, 320):
        frame = sound[start : start + 640]
        if np.sqrt(np.mean(frame**2)) > 0.7:
            alike = np.correlate(frame, frame, "full")[640 + 40 : 640 + 266]
            lags.append(40 + int(np.argmax(alike)))
    return float(np.percentile(np.log(lags), 80) - np.percentile(np.log(lags), 20))


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_few_people_of_any_seed_pause_and_speak_as_promised(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = [somebody(Condition("pauses"), rng, quantile(seed, index)) for index in range(playing.CALLS["pauses"])]
    pauses = np.array([person.pauses(rng, 12) for person in people])
    assert np.median(pauses) == pytest.approx(0.5, abs=0.02)
    assert np.mean(pauses < 1.0) == pytest.approx(0.9, abs=0.02)


def test_a_person_s_turns_have_every_number_of_clauses_as_often() -> None:
    turns = somebody(Condition("pauses"), np.random.default_rng(1)).turns(np.random.default_rng(1), 8)
    assert sorted(map(len, turns)) == sorted(CLAUSES * 2)
    assert all(clause.pause_s > 0 for turn in turns for clause in turn[:-1])
    assert all(turn[-1].pause_s == 0 for turn in turns)


def test_the_echo_has_its_level_and_comes_later() -> None:
    echo = Echo(np.random.default_rng(3), gain=0.1, block=320)
    played = np.random.default_rng(4).normal(0, 1, 320 * 500).astype(np.float32)
    heard = np.concatenate([echo.next(played[i : i + 320]) for i in range(0, len(played), 320)])
    assert np.abs(heard[:300]).max() < 1e-6
    assert 20 * np.log10(np.sqrt(np.mean(heard[16_000:] ** 2))) == pytest.approx(-20, abs=3)


def test_marks_cover_the_whole_reply() -> None:
    spoken = render("There are three people.")
    assert spoken.words(0) == 0
    assert spoken.words(1000 * len(spoken.sound) / 16_000 + 1) == 4
    assert len(spoken.marks) == 3  # espeak-ng says "there are" at once


def test_in_the_form_of_minicpm_o_every_second_piece_brings_ten_tokens_and_none_a_time() -> None:
    pieces = unmarked(render(LONG_REPLIES[0]))
    whole = b"".join(piece.pcm for piece in render(LONG_REPLIES[0]).pieces)
    assert b"".join(piece.pcm for piece in pieces) == whole
    assert {len(piece.pcm) for piece in pieces[:-1]} == {25_600}
    assert not any(piece.marks for piece in pieces)
    told = LONG_REPLIES[0][slice(*pieces[2].text_span)]
    assert len(TOKEN.findall(told)) == 10
    assert pieces[3].text_span[0] == pieces[3].text_span[1] == pieces[2].text_span[1]
    assert pieces[-1].text_span[1] == len(LONG_REPLIES[0])


def test_without_word_times_at_most_two_words_are_wrong_at_nearly_every_cut() -> None:
    """Random cuts of whole replies, while the engine is 5 s ahead, in a voice that the estimate was not made for."""
    rng, off = np.random.default_rng(8), []
    for text in LONG_REPLIES:
        spoken, knows, ahead = render(text), SpokenText(), 0
        knows.add_text(0, text)
        length_ms = 1000 * len(spoken.sound) / 16_000
        waiting = unmarked(spoken)
        for cut_ms in np.sort(rng.uniform(300, length_ms, 40)):
            while waiting and ahead / 24 < cut_ms + AHEAD_MS:
                piece = waiting.pop(0)
                knows.add_speech(Speech(response_id="r", position=ahead, pcm=piece.pcm, text_span=piece.text_span))
                ahead += len(piece.pcm) // 2
            if not waiting:
                knows.finish()
            off.append(abs(len(knows.heard(cut_ms).split()) - spoken.words(cut_ms)))
    assert np.mean(np.array(off) <= 2) >= 0.95
    assert np.mean(np.array(off) <= 1) >= 0.85


class PlayedPage:
    """A page that was sent a second of speech, and its reports."""

    def __init__(self) -> None:
        self.reports: list[PlaybackAck] = []
        self.page = Page(self.reports.append)
        self.page.created("resp", 1, np.ones(16_000, np.float32))
        self.now = 0.0

    def send(self, *, without: int = -1) -> None:
        for number in range(50):
            if number != without:
                self.page.accept(AudioMessage(1, 480 * number, bytes(960), last=number == 49))

    def heard(self, steps: int) -> float:
        """Seconds of sound at the ear in so many steps."""
        sound = 0.0
        for _ in range(steps):
            self.now += STEP_S
            sound += STEP_S * float(self.page.step(self.now).mean())
        return sound


def test_the_page_plays_behind_its_delay_and_reports_the_end() -> None:
    scene = PlayedPage()
    scene.send()
    assert scene.heard(9) == 0
    assert scene.heard(100) == pytest.approx(1.0)
    assert scene.reports[-1] == PlaybackAck(response_id="resp", played_ms=1000.0, final=True)


def test_a_message_that_never_comes_is_concealed() -> None:
    scene = PlayedPage()
    scene.send(without=7)
    scene.heard(109)
    assert scene.reports[-1].final


def test_a_paused_page_is_silent_at_once_and_loses_what_was_on_its_way() -> None:
    scene = PlayedPage()
    scene.send()
    scene.heard(50)
    scene.page.pause(scene.now)
    assert scene.heard(20) == 0
    scene.page.resume("resp", None, scene.now)
    assert scene.heard(200) == pytest.approx(1.0 - 0.5, abs=0.02)


def test_a_page_that_goes_back_says_the_word_again() -> None:
    scene = PlayedPage()
    scene.send()
    scene.heard(50)
    scene.page.pause(scene.now)
    scene.heard(20)
    scene.page.resume("resp", 300.0, scene.now)
    assert scene.heard(200) == pytest.approx(1.0 - 0.3, abs=0.02)
    assert scene.reports[-1].final


def test_a_flushed_page_says_its_last_word() -> None:
    scene = PlayedPage()
    scene.send()
    scene.heard(50)
    scene.page.flush("resp", scene.now)
    assert scene.reports[-1] == PlaybackAck(response_id="resp", played_ms=410.0, final=True)
    assert scene.heard(100) == 0


def test_the_same_seed_plays_the_same_call() -> None:
    for name in ("pauses.flat.noise10", "overlap.words.noise20.loss1.rtt50", "alone.echo20"):
        assert play(parse(name), 3, 1) == play(parse(name), 3, 1)


def test_a_threshold_that_is_never_reached_takes_no_pause_and_answers_late() -> None:
    figures = play(parse("pauses.flat.noise20.silence900"), 1, 0)
    quick = play(parse("pauses.flat.noise20.silence200"), 1, 0)
    assert np.mean(figures["take_over"]) < np.mean(quick["take_over"])
    assert np.median(figures["latency"]) > np.median(quick["latency"]) + 500


def test_shares_count_every_figure_and_have_an_interval() -> None:
    row = Row("r", "", "", "missed", "share", most=0.1)
    calls = [{"missed": [0.0, 0.0]}, {"missed": [1.0, 0.0]}, {"other": [1.0]}]
    found = measure(row, calls)
    assert (found.value, found.count, found.ok) == (0.25, 4, False)
    assert found.low <= 0.25 <= found.high
    nothing = measure(row, [{"missed": [0.0] * 20}])
    assert nothing.ok
    assert nothing.high == pytest.approx(0.161, abs=0.001)


def test_rates_are_of_ten_minutes() -> None:
    row = Row("r", "", "", "stops", "per_10_minutes", most=0)
    assert measure(row, [{"stops": [1.0], "minutes": [0.5]}, {"stops": [0.0], "minutes": [0.5]}]).value == 10
    assert measure(row, [{"stops": [0.0], "minutes": [1.0]}] * 10).high == 3


def test_a_promise_about_nothing_is_missed() -> None:
    assert not measure(Row("r", "", "", "latency", "p95", most=900), [{"latency": []}]).ok
    assert measure(Row("r", "", "", "latency", "p95"), []).ok


def test_pauses_fall_into_their_bins() -> None:
    assert [bin_name(s) for s in (0.1, 0.3, 0.69, 2.0)] == ["pause_0", "pause_300", "pause_500", "pause_1500"]


def test_the_table_marks_a_miss() -> None:
    row = Row("r", "turns", "", "smooth", "share", least=0.98)
    assert "**missed**" in table.markdown([measure(row, [{"smooth": [1.0, 0.0]}])])
    assert table.line(measure(row, [{"smooth": [1.0]}])).endswith(">= 98.0 %")


def test_the_picture_is_xml_and_shows_every_point() -> None:
    swept = [picture.Point("200", 300, 0.9), picture.Point("900", 1_000, 0.1)]
    drawn = picture.draw(swept, [picture.Point("250", 320, 0.7)], [picture.Point("auto", 600, 0.1)])
    labels = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]
    assert {"200", "900", "auto", "Moshi", "gpt-realtime"} <= set(labels)
    assert drawn.count("<polyline") == 2


def test_calls_played_side_by_side_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "calls_of", lambda condition, quick: 2)
    names = ["overlap.words.noise20"]
    together = playing.play_all(names, seed=3, quick=True, jobs=2)
    assert together == playing.play_all(names, seed=3, quick=True, jobs=1)
