"""Losing sockets and servers: tables of what was on its way, and what the next server then holds."""

from __future__ import annotations

import pytest

from model_server.protocol import (
    Append,
    Busy,
    Cancelled,
    Done,
    Draining,
    Error,
    Open,
    Prefill,
    Prefilled,
    Rollback,
    RolledBack,
    SessionConfig,
    Started,
    Text,
    TextItem,
)
from tests.realtime.scripted_server import kept_words
from tests.realtime.session_line import Line, only, reply_to, seqs, unit, unit_step

# Losing the socket --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize(("up", "down"), [(0, 0), (1, 0), (1, 1), (2, 0), (2, 2)])
def test_items_in_flight_are_written_once_and_told_once(up: int, down: int, dies: bool) -> None:
    line = Line()
    for name in "abc":
        line.client.prefill(unit(name))
    line.lose(up=up, down=down, dies=dies)
    line.open()
    line.run()
    assert seqs(line.told) == [1, 2, 3]
    assert line.context == (unit_step("a"), unit_step("b"), unit_step("c"))


def test_a_session_is_taken_up_where_it_lives() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.run()
    line.lose()
    assert line.client.open_request().resume is not None
    line.open()
    line.run()
    assert (line.client.stats.resumed, line.client.stats.replayed) == (1, 0)
    assert line.session is not None
    assert [request.seq for request in line.session.requests if isinstance(request, Prefill)] == [1]


@pytest.mark.parametrize("dies", [False, True])
def test_a_response_that_nobody_heard_of_yet_is_asked_for_again(dies: bool) -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.client.generate("r1")
    line.lose(up=2, dies=dies)
    assert not only(line.told, Done)
    line.open()
    told = line.run() + line.speak(7)
    assert only(told, Started) == [Started(response_id="r1")]
    assert {text.response_id for text in only(told, Text)} == {"r1"}
    assert only(told, Done)[0].reason == "completed"
    assert [step[0] for step in line.context] == ["unit", "assistant"]


def test_a_response_that_kills_its_servers_is_given_up() -> None:
    line = Line()
    line.client.generate("r1")
    for _ in range(2):
        line.lose(up=1, dies=True)
        line.open()
    assert only(line.told, Done) == [Done(response_id="r1", reason="failed")]
    assert line.run() == []


@pytest.mark.parametrize("dies", [False, True])
def test_a_response_in_mid_speech_ends_and_what_was_said_stays(dies: bool) -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 3)
    said = " ".join(kept_words([piece.text.strip() for piece in only(line.told, Text)], 600).split())
    line.lose(dies=dies)
    assert only(line.told, Done) == [Done(response_id="r1", reason="failed")]
    line.client.prefill(unit("b"))
    line.open()
    line.run()
    assert line.context == (unit_step("a"), ("assistant", said), unit_step("b"))


@pytest.mark.parametrize("dies", [False, True])
def test_it_can_still_be_cut_to_what_was_heard(dies: bool) -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 4)
    line.lose(dies=dies)
    line.client.cancel("r1", 450)
    (cancelled,) = only(list(line.client.deliveries()), Cancelled)
    line.client.prefill(unit("b"))
    line.open()
    line.run()
    assert len(cancelled.kept_text.split()) == 2
    assert line.context == (unit_step("a"), ("assistant", cancelled.kept_text), unit_step("b"))


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("up", [0, 1])
def test_a_cancel_under_way_is_completed_by_the_log(up: int, dies: bool) -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 4)
    line.client.cancel("r1", 450)
    line.lose(up=up, dies=dies)
    (cancelled,) = only(line.told, Cancelled)
    assert not only(line.told, Done)
    line.open()
    line.run()
    assert len(cancelled.kept_text.split()) == 2
    assert line.context == (unit_step("a"), ("assistant", cancelled.kept_text))


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("up", [0, 1])
def test_a_rollback_under_way_is_completed(up: int, dies: bool) -> None:
    line = Line()
    for name in "ab":
        line.client.prefill(unit(name))
    line.run()
    line.client.rollback(1)
    line.lose(up=up, dies=dies)
    line.open()
    assert len(only(line.run(), RolledBack)) == 1
    assert line.context == (unit_step("a"),)


@pytest.mark.parametrize("up", [0, 1])
def test_a_rollback_under_way_that_undoes_only_words_is_completed(up: int) -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 7)
    line.client.rollback(1)
    line.lose(up=up)
    line.open()
    assert len(only(line.run(), RolledBack)) == 1
    assert list(line.context) == [unit_step("a")]


def test_a_server_that_holds_more_than_the_log_is_rolled_back() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.run()
    assert line.session is not None
    line.session.handle(Prefill(seq=2, item=unit("stray")))
    line.lose()
    line.open()
    line.client.prefill(unit("b"))
    line.run()
    assert line.context == (unit_step("a"), unit_step("b"))


def test_of_two_responses_in_a_row_losing_the_second_leaves_the_first() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 7)
    first = line.context[-1]
    reply_to(line, "r2", 2)
    line.lose()
    line.open()
    line.run()
    assert [step[0] for step in line.context] == ["unit", "assistant", "assistant"]
    assert line.context[1] == first


def test_a_replay_carries_tokens_pictures_and_cuts() -> None:
    line = Line()
    line.client.prefill(unit("a", b"p"))
    reply_to(line, "r1", 7)
    line.client.prefill(TextItem(text="and now?"))
    reply_to(line, "r2", 3)
    line.client.cancel("r2", 400)
    line.client.prefill(unit("b"))
    line.run()
    before = line.context
    line.lose(dies=True)
    line.open()
    assert line.run() == []
    assert line.context == before
    assert line.session is not None
    assert len([r for r in line.session.requests if isinstance(r, Append) and r.engine_tokens]) == 2
    assert line.client.stats.replayed == 1


def test_tokens_that_the_next_engine_does_not_take_are_replaced_by_their_text() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 7)
    text = line.context[-1]
    line.lose(dies=True)
    line.open()
    line.send()
    assert isinstance(line.up[1], Append)
    line.client.receive(Prefilled(seq=1, kv_length=1, ms=1))
    line.client.receive(Error(code="invalid_item", message="foreign tokens", seq=2))
    request = line.client.next_request()
    assert request == Append(seq=2, role="assistant", text=str(text[1]))


def test_a_cut_of_a_replayed_response_is_made_by_the_log() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 7)
    line.client.prefill(unit("b"))
    line.run()
    line.lose(dies=True)
    line.open()
    line.run()
    line.client.cancel("r1", 400)
    line.send()
    assert list(line.up) == [Rollback(to_seq=1)]
    (cancelled,) = only(line.run(), Cancelled)
    assert line.context == (unit_step("a"), ("assistant", cancelled.kept_text), unit_step("b"))


def test_losing_it_twice_before_anything_was_answered_changes_nothing() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    reply_to(line, "r1", 3)
    line.lose(dies=True)
    line.open()
    line.lose(up=1, dies=True)
    line.open()
    line.run()
    assert [step[0] for step in line.context] == ["unit", "assistant"]
    assert len(only(line.told, Done)) == 1


# Servers that go, or are not what they should be --------------------------------------------------------------------


@pytest.mark.parametrize("code", ["session_ended", "engine_failed", "not_open", "already_open", "invalid_message"])
def test_errors_that_end_the_session_ask_for_a_new_one(code: str) -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.run()
    line.client.receive(Error(code=code, message=""))
    assert line.client.broken == code
    assert line.client.open_request() == Open(config=SessionConfig())


def test_a_server_that_goes_away_is_not_asked_again() -> None:
    line = Line()
    line.down.append(Draining(deadline_s=5))
    assert line.run() == [Draining(deadline_s=5)]
    assert line.client.broken is None
    assert line.client.open_request().resume is None


def test_a_server_out_of_step_for_no_reason_is_given_up() -> None:
    line = Line()
    line.client.prefill(unit("a"))
    line.send()
    line.client.receive(Error(code="seq_gap", message="", seq=1))
    assert line.client.broken == "out_of_step"


def test_answers_to_nothing_are_harmless() -> None:
    line = Line()
    for reply in (
        Prefilled(seq=9, kv_length=0, ms=0),
        Busy(seq=9),
        Started(response_id="x"),
        Text(response_id="x", start=0, text="?"),
        Done(response_id="x"),
        Cancelled(response_id="x", kept_text="", kv_length=0, last_seq=0),
        Error(code="unknown_response", message="", response_id="x"),
    ):
        line.client.receive(reply)
    assert line.run() == []
    assert line.client.stats.stale == 5
