"""The client side of the session protocol against a scripted server: tables of what is asked, answered and lost."""

from __future__ import annotations

import pytest

from model_server.protocol import (
    MAX_MESSAGE_BYTES,
    Append,
    Busy,
    Cancel,
    Cancelled,
    Done,
    Draining,
    Error,
    Evicted,
    Generate,
    Open,
    PictureItem,
    Played,
    Prefill,
    Prefilled,
    Rollback,
    RolledBack,
    SessionConfig,
    Speech,
    Started,
    Text,
    TextItem,
    Transcript,
    Update,
    Updated,
)
from realtime.pipeline import MAX_WAITING
from realtime.session_reports import BacklogFull, Delivery, Returned, SessionError
from tests.realtime.scripted_server import SPOILT, kept_words
from tests.realtime.session_line import Line, only, unit, unit_step


def seqs(told: list[Delivery]) -> list[int]:
    return [reply.seq for reply in only(told, Prefilled)]


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


# Responses ----------------------------------------------------------------------------------------------------------


def reply_to(line: Line, response_id: str, words: int) -> list[Delivery]:
    line.client.generate(response_id)
    told = line.run()
    return told + line.speak(words)


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
    assert line.context == (unit_step("c"),)


def test_settings_that_were_let_go_open_the_next_session() -> None:
    line = Line()
    line.client.update(SessionConfig(instructions="early"))
    line.client.prefill(unit("a"))
    line.client.prefill(unit("b"))
    line.run()
    line.down.append(Evicted(up_to_seq=1))
    line.run()
    assert line.client.open_request().config.instructions == "early"


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
