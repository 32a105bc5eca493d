"""Responses of a session: tables of what is said, handed back and cancelled against a scripted server."""

from __future__ import annotations

import pytest

from model_server.protocol import (
    Cancel,
    Cancelled,
    Done,
    Error,
    Generate,
    PictureItem,
    Played,
    Speech,
    Started,
    Text,
)
from realtime.session.reports import Returned, SessionError
from tests.realtime.scripted_server import SPOILT, kept_words
from tests.realtime.session_line import Line, only, reply_to, seqs, unit, unit_step

# Responses ----------------------------------------------------------------------------------------------------------


def test_a_response_is_told_as_it_comes() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    told = reply_to(line, "r1", 7)
    assert only(told, Started) == [Started(response_id="r1")]
    assert len(only(told, Text)) == len(only(told, Speech)) == 6
    (done,) = only(told, Done)
    assert done.reason == "completed"
    assert line.context[-1][0] == "assistant"


def test_generate_follows_what_was_written_without_waiting_for_its_answer() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.client.generate("r1")
    line.send()
    assert list(line.up)[1] == Generate(response_id="r1", after_seq=1)


def test_credit_is_only_for_what_runs_and_only_the_newest() -> None:
    line = Line()
    reply_to(line, "r1", 2)
    line.client.played("r1", 100)
    line.client.played("r1", 200)
    line.client.played("r9", 200)
    line.send()
    assert list(line.up) == [Played(response_id="r1", ms=200)]
    line.speak(7)
    line.client.played("r1", 900)
    assert line.client.next_request() is None


@pytest.mark.parametrize("response_id", ["", "a b", "x" * 61, "ä"])
def test_response_ids_that_cannot_be_are_refused(response_id: str) -> None:
    with pytest.raises(SessionError, match="response id is 1 to 60"):
        Line().client.generate(response_id)


def test_a_response_id_is_used_once() -> None:
    line = Line()
    line.client.generate("r1")
    with pytest.raises(SessionError, match="used before"):
        line.client.generate("r1")


def test_a_refused_response_is_told() -> None:
    line = Line()
    reply_to(line, "r1", 1)
    line.client.generate("r2")
    (error,) = only(line.run(), Error)
    assert (error.code, error.response_id) == ("response_in_progress", "r2")
    assert only(line.speak(), Text)


def test_a_busy_engine_hands_back_everything_that_came_behind_in_order() -> None:
    line = Line()
    reply_to(line, "r1", 1)
    for name in "abcd":
        line.client.prefill(unit(name))
    line.client.append("tool", "result")
    line.client.generate("r2")
    told = line.run()
    assert [(r.seq, getattr(r.item, "text", None)) for r in only(told, Returned)] == [
        (1, None),
        (2, None),
        (3, None),
        (4, None),
        (5, "result"),
    ]
    (error,) = only(told, Error)
    assert (error.code, error.response_id) == ("response_in_progress", "r2")
    line.speak(7)
    assert line.client.prefill(unit("a")) == 6
    assert seqs(line.run()) == [6]
    assert [step[0] for step in line.context] == ["assistant", "unit"]


def test_items_written_while_others_come_back_are_not_mixed_up_with_them() -> None:
    line = Line()
    reply_to(line, "r1", 1)
    line.client.prefill(unit("a"))
    line.client.prefill(unit("b"))
    line.send()
    line.serve_one()
    line.client.receive(line.down.popleft())
    assert [r.seq for r in only(list(line.client.deliveries()), Returned)] == [1, 2]
    assert line.session is not None
    while line.session.running is not None:
        line.session.speak()
    line.client.prefill(unit("A"))
    assert line.client.next_request() is None
    told = line.run()
    assert seqs(told) == [3]
    assert line.context[-1] == unit_step("A")
    assert not only(told, Error)


# Cancelling ---------------------------------------------------------------------------------------------------------


def test_a_cancelled_response_is_silent_from_that_moment() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 2)
    assert line.session is not None
    line.down.extend(line.session.speak())
    line.client.cancel("r1", 450)
    line.down.extend(line.session.speak())
    told = line.run()
    (cancelled,) = told
    assert isinstance(cancelled, Cancelled)
    assert cancelled.kept_text == kept_words(cancelled.kept_text.split(), 450)
    assert len(cancelled.kept_text.split()) == 2
    assert line.client.stats.stale == 4
    assert line.context == (unit_step("a"), ("assistant", cancelled.kept_text))


def test_nothing_is_written_until_the_server_has_answered_a_cancel() -> None:
    line = Line()
    reply_to(line, "r1", 2)
    line.client.cancel("r1", 200)
    line.client.prefill(unit("b"))
    line.send()
    assert list(line.up) == [Cancel(response_id="r1", keep_ms=200)]
    line.run()
    assert [step[0] for step in line.context] == ["assistant", "unit"]


def test_a_response_that_was_not_asked_for_yet_is_cancelled_here() -> None:
    line = Line()
    for name in "abc":
        line.client.prefill(unit(name))
    line.client.generate("r1")
    line.client.cancel("r1", 500)
    (cancelled,) = line.client.deliveries()
    assert isinstance(cancelled, Cancelled)
    assert cancelled.kept_text == ""
    line.run()
    assert [step[0] for step in line.context] == ["unit"] * 3


def test_cancelling_the_unknown_is_a_benign_race() -> None:
    line = Line()
    line.client.cancel("nobody", 100)
    (error,) = line.client.deliveries()
    assert isinstance(error, Error)
    assert (error.code, error.response_id) == ("unknown_response", "nobody")


def test_a_speculative_reply_is_undone_with_its_short_unit() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.client.prefill(unit("sh"))
    reply_to(line, "r1", 1)
    line.client.cancel("r1", discard=True, rollback_to_seq=1)
    assert line.client.prefill(unit("full")) == 3
    told = line.run()
    (cancelled,) = only(told, Cancelled)
    assert cancelled.last_seq == 1
    assert seqs(told) == [3]
    assert line.context == (unit_step("a"), unit_step("full"))


def test_a_speculative_reply_is_undone_behind_a_picture_that_was_refused() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.client.prefill(PictureItem(jpeg=SPOILT))
    line.run()
    line.client.prefill(unit("sh"))
    reply_to(line, "r1", 1)
    line.client.cancel("r1", discard=True, rollback_to_seq=2)
    line.client.prefill(unit("full"))
    line.run()
    assert line.context == (unit_step("a"), unit_step("full"))


def test_a_cut_of_an_earlier_response_writes_what_came_after_it_again_and_tells_nobody() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 7)
    line.client.prefill(unit("b", b"p"))
    line.client.prefill(unit("c"))
    line.run()
    line.client.cancel("r1", 400)
    line.client.prefill(unit("d"))
    told = line.run()
    (cancelled,) = only(told, Cancelled)
    assert cancelled.last_seq == 1
    assert seqs(told) == [4]
    assert line.context == (
        unit_step("a"),
        ("assistant", cancelled.kept_text),
        unit_step("b", b"p"),
        unit_step("c"),
        unit_step("d"),
    )


def test_a_second_shorter_cut_of_the_same_response_is_made_by_the_log() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 4)
    line.client.cancel("r1", 800)
    line.client.prefill(unit("b"))
    line.run()
    line.client.cancel("r1", 400)
    (cancelled,) = only(line.run(), Cancelled)
    assert len(cancelled.kept_text.split()) == 2
    assert line.context == (unit_step("a"), ("assistant", cancelled.kept_text), unit_step("b"))


def test_two_cancels_are_carried_out_one_after_the_other() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 4)
    line.client.cancel("r1", 800)
    line.client.cancel("r1", 200)
    told = line.run()
    assert [len(cancelled.kept_text.split()) for cancelled in only(told, Cancelled)] == [4, 1]
    assert len(line.context) == 2
    assert line.context[1] == ("assistant", only(told, Cancelled)[1].kept_text)


def test_an_earlier_response_is_not_cut_while_another_is_being_generated() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 7)
    line.client.prefill(unit("b"))
    reply_to(line, "r2", 2)
    line.client.cancel("r1", 200)
    (error,) = line.run()
    assert isinstance(error, Error)
    assert (error.code, error.response_id) == ("response_in_progress", "r1")
    assert only(line.speak(5), Done)[0].response_id == "r2"
    line.client.cancel("r1", 200)
    assert only(line.run(), Cancelled)
    assert [step[0] for step in line.context] == ["unit", "assistant", "unit", "assistant"]


def test_a_response_heard_to_nothing_leaves_the_turn_open() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 3)
    line.client.cancel("r1", 100)
    line.run()
    assert line.context == (unit_step("a"),)


def test_a_response_of_which_the_server_knows_no_more_is_cut_by_the_log() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 7)
    assert line.session is not None
    line.session.settled.add("r1")
    line.client.cancel("r1", 600)
    (cancelled,) = only(line.run(), Cancelled)
    assert line.context == (unit_step("a"), ("assistant", cancelled.kept_text))
    assert len(cancelled.kept_text.split()) == 3


# Engines that start by themselves -----------------------------------------------------------------------------------


def test_a_native_response_is_told_and_units_go_on() -> None:
    line = Line(native=True)
    line.client.prefill(unit("a"))
    line.run()
    assert line.session is not None
    line.down.extend(line.session.begin_native("n1"))
    line.speak(2)
    line.client.prefill(unit("b"))
    assert seqs(line.run()) == [2]
    assert [reply.response_id for reply in only(line.told, Started)] == ["n1"]


def test_units_that_a_cancelled_native_response_took_with_it_are_written_again() -> None:
    line = Line(native=True)
    line.client.prefill(unit("a"))
    line.run()
    assert line.session is not None
    line.down.extend(line.session.begin_native("n1"))
    line.speak(2)
    for name in "bc":
        line.client.prefill(unit(name))
        line.run()
    line.client.cancel("n1", 200)
    (cancelled,) = only(line.run(), Cancelled)
    assert line.context == (unit_step("a"), ("assistant", cancelled.kept_text), unit_step("b"), unit_step("c"))
    assert seqs(line.told) == [1, 2, 3]


def test_an_item_refused_beside_a_native_response_does_not_silence_it() -> None:
    line = Line(native=True)
    line.client.prefill(unit("a"))
    line.run()
    line.client.prefill(PictureItem(jpeg=SPOILT))
    line.client.prefill(unit("b"))
    line.send()
    assert line.session is not None
    line.down.extend(line.session.begin_native("n1"))
    line.run()
    assert only(line.told, Error)
    assert only(line.speak(2), Text)
    assert line.context == (unit_step("a"), unit_step("b"))


def test_a_native_response_that_nobody_heard_of_is_left_to_the_engine() -> None:
    line = Line(native=True)
    line.client.prefill(unit("a"))
    line.run()
    assert line.session is not None
    line.down.extend(line.session.begin_native("n1"))
    line.run()
    line.lose(dies=True)
    line.open()
    line.run()
    assert only(line.told, Done) == [Done(response_id="n1", reason="failed")]
    assert line.context == (unit_step("a"),)
