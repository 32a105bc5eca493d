"""What is written into a session: tables of items, refusals, settings and rollbacks against a scripted server."""

from __future__ import annotations

import pytest

from model_server.protocol import (
    MAX_MESSAGE_BYTES,
    Error,
    Evicted,
    PictureItem,
    Prefill,
    Prefilled,
    RolledBack,
    SessionConfig,
    Started,
    Transcript,
    Update,
    Updated,
)
from realtime.session.pipeline import MAX_WAITING
from realtime.session.reports import BacklogFull, SessionError
from tests.realtime.scripted_server import SPOILT
from tests.realtime.session_line import Line, only, reply_to, seqs, unit, unit_step

# Writing ------------------------------------------------------------------------------------------------------------


def test_items_are_numbered_sent_in_order_and_told() -> None:
    line = Line()
    assert line.client.prefill(unit("a")) == 1
    assert line.client.append("user", "before") == 2
    assert line.client.prefill(unit("b")) == 3
    assert seqs(line.run()) == [1, 2, 3]
    assert line.context == (unit_step("a"), ("user", "before"), unit_step("b"))
    assert line.client.kv_length == 3


def test_two_items_at_most_are_unanswered() -> None:
    line = Line()
    for name in "abcd":
        line.client.prefill(unit(name))
    line.send()
    assert [request.seq for request in line.up if isinstance(request, Prefill)] == [1, 2]
    line.client.receive(Prefilled(seq=1, kv_length=1, ms=1))
    line.send()
    assert [request.seq for request in line.up if isinstance(request, Prefill)] == [1, 2, 3]


def test_units_that_wait_lose_their_pictures_but_the_newest_and_never_their_audio() -> None:
    line = Line()
    for name in "abcdef":
        line.client.prefill(unit(name, b"p" + name.encode()))
        line.send()
    assert line.client.stats.pictures_dropped == 3
    line.run()
    assert line.context == (
        unit_step("a", b"pa"),
        unit_step("b", b"pb"),
        unit_step("c"),
        unit_step("d"),
        unit_step("e"),
        unit_step("f", b"pf"),
    )


def test_two_units_may_wait_for_an_answer_with_their_pictures() -> None:
    line = Line()
    for name in "ab":
        line.client.prefill(unit(name, b"p"))
    assert line.client.stats.pictures_dropped == 0


def test_a_picture_shown_on_purpose_is_never_dropped() -> None:
    line = Line()
    for name in "abcd":
        line.client.prefill(unit(name))
    line.client.prefill(PictureItem(jpeg=b"shown"))
    line.client.prefill(unit("e"))
    line.run()
    assert line.context[4] == ("picture", b"shown")


def test_the_backlog_is_bounded_and_says_so() -> None:
    line = Line()
    line.client.lost()
    for n in range(MAX_WAITING):
        line.client.prefill(unit(f"{n}"))
    with pytest.raises(BacklogFull, match=f"at most {MAX_WAITING}"):
        line.client.prefill(unit("more"))
    assert line.client.last_seq == MAX_WAITING
    line.open()
    line.run()
    assert len(line.context) == MAX_WAITING


def test_an_item_too_large_for_a_message_is_refused() -> None:
    line = Line()
    with pytest.raises(SessionError, match="send its pictures one by one"):
        line.client.prefill(unit("a", bytes(MAX_MESSAGE_BYTES)))
    assert line.client.last_seq == 0


def test_a_picture_that_the_engine_refuses_does_not_cost_the_second_it_came_with() -> None:
    line = Line()
    line.client.prefill(unit("a", SPOILT))
    line.client.prefill(unit("b", b"p"))
    line.client.generate("r1")
    told = line.run()
    assert seqs(told) == [1, 2]
    assert only(told, Started) == [Started(response_id="r1")]
    assert line.context == (unit_step("a"), unit_step("b", b"p"))
    assert line.client.stats.items_rejected == 1


def test_any_other_refused_item_is_told_and_those_behind_it_are_written() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.client.prefill(PictureItem(jpeg=SPOILT))
    line.client.prefill(unit("b"))
    told = line.run()
    assert only(told, Error) == [Error(code="invalid_item", message="refused", seq=2)]
    assert seqs(told) == [1, 3]
    assert line.context == (unit_step("a"), unit_step("b"))


# Rolling back -------------------------------------------------------------------------------------------------------


def test_a_rollback_undoes_what_was_written_and_what_was_said() -> None:
    line = Line()
    for name in "abc":
        line.client.prefill(unit(name))
    reply_to(line, "r1", 7)
    line.client.rollback(2)
    line.client.prefill(unit("d"))
    told = line.run()
    assert only(told, RolledBack) == [RolledBack(last_seq=2, kv_length=2)]
    assert line.context == (unit_step("a"), unit_step("b"), unit_step("d"))


def test_a_rollback_of_what_was_never_sent_needs_no_server() -> None:
    line = Line()
    line.client.lost()
    for name in "abc":
        line.client.prefill(unit(name))
    line.client.rollback(2)
    assert only(list(line.client.deliveries()), RolledBack)
    line.open()
    line.run()
    assert line.context == (unit_step("a"), unit_step("b"))


def test_a_rollback_keeps_settings() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.client.update(SessionConfig(instructions="be brief"))
    line.client.prefill(unit("b"))
    line.run()
    line.client.rollback(0)
    line.run()
    assert line.context == ()
    line.lose(dies=True)
    line.open()
    line.run()
    assert line.session is not None
    assert line.session.config.instructions == "be brief"


def test_places_that_are_not_there_are_refused() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    with pytest.raises(SessionError, match="item 7 is not in the session"):
        line.client.rollback(7)
    line.client.generate("r1")
    with pytest.raises(SessionError, match="item 7 is not in the session"):
        line.client.cancel("r1", rollback_to_seq=7)
    line.run()
    with pytest.raises(SessionError, match="cancel it first"):
        line.client.rollback(0)


def test_a_way_back_that_is_gone_means_a_new_session() -> None:
    line = Line()
    assert line.session is not None
    line.session.max_marks = 1
    for name in "abcd":
        line.client.prefill(unit(name))
    line.run()
    line.client.rollback(1)
    line.run()
    assert line.client.broken == "rollback_refused"
    line.lose()
    line.open()
    told = line.run()
    assert only(told, RolledBack)
    assert line.context == (unit_step("a"),)


# Settings, transcripts, evictions ----------------------------------------------------------------------------------


def test_settings_are_sent_in_order_with_what_is_written() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.client.update(SessionConfig(instructions="x"))
    line.client.prefill(unit("b"))
    line.send()
    assert [type(request) for request in line.up] == [Prefill, Update, Prefill]
    assert only(line.run(), Updated) == [Updated(applied=SessionConfig(instructions="x"))]


def test_refused_settings_are_told_and_not_replayed() -> None:
    line = Line()
    line.client.update(SessionConfig(language="xx"))
    (error,) = only(line.run(), Error)
    assert error.code == "invalid_config"
    line.lose(dies=True)
    line.open()
    assert not only(line.run(), Error)


def test_transcripts_carry_the_number_that_the_caller_knows() -> None:
    line = Line()
    line.client.prefill(PictureItem(jpeg=SPOILT))
    line.client.prefill(unit("a"))
    line.run()
    line.down.append(Transcript(seq=1, text="hello"))
    assert line.run() == [Transcript(seq=2, text="hello")]


def test_what_the_context_has_let_go_is_not_replayed() -> None:
    line = Line()
    for name in "abc":
        line.client.prefill(unit(name))
    line.client.update(SessionConfig(instructions="late"))
    line.client.prefill(unit("d"))
    line.run()
    line.down.append(Evicted(up_to_seq=2))
    assert line.run() == [Evicted(up_to_seq=2)]
    line.lose(dies=True)
    line.open()
    line.run()
    assert line.context == (unit_step("c"), unit_step("d"))
    with pytest.raises(SessionError, match="not in the session"):
        line.client.rollback(1)
    line.client.rollback(3)
    line.run()
    assert list(line.context) == [unit_step("c")]


def test_settings_that_were_let_go_open_the_next_session() -> None:
    line = Line()
    line.client.update(SessionConfig(instructions="early"))
    line.client.prefill(unit("a"))
    line.client.prefill(unit("b"))
    line.run()
    line.down.append(Evicted(up_to_seq=1))
    line.run()
    assert line.client.open_request().config.instructions == "early"
