"""The session table as tables of (time, event) and effects: no socket, no clock."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.sessions import (
    Abandon,
    Attach,
    Drain,
    Drop,
    Effect,
    End,
    EngineReady,
    Event,
    Heard,
    OpenAsked,
    Refuse,
    SessionFreed,
    SessionOver,
    SessionTable,
    SocketLost,
    Start,
    TableLimits,
    TellDraining,
    TellPlace,
    Tick,
)


def new_table(max_sessions: int = 2, max_waiting: int = 2, *, ready: bool = True) -> SessionTable:
    numbers = count(1)
    limits = TableLimits(max_sessions, max_waiting, idle_s=300, resume_s=30, end_s=5)
    table = SessionTable(limits, lambda: f"token-{next(numbers)}")
    if ready:
        assert table.handle(EngineReady(), 0) == []
    return table


def run(table: SessionTable, *steps: tuple[float, Event]) -> list[Effect]:
    """Handle all; the effects of the last step."""
    effects: list[Effect] = []
    for now, event in steps:
        effects = table.handle(event, now)
    return effects


def test_a_free_place_is_given_at_once() -> None:
    table = new_table()
    assert run(table, (1, OpenAsked(1, "a"))) == [Start(1, "a", "token-1")]
    assert table.open_count == 1


def test_a_full_server_refuses_with_a_time() -> None:
    table = new_table(max_sessions=1)
    (refused,) = run(table, (1, OpenAsked(1, "a")), (2, OpenAsked(2, "b")))
    assert isinstance(refused, Refuse)
    assert (refused.socket, refused.code) == (2, "server_full")
    assert refused.retry_after > 0


def test_the_waiting_line_answers_moves_up_and_admits() -> None:
    table = new_table(max_sessions=1)
    run(table, (0, OpenAsked(1, "a")))
    (second,) = run(table, (1, OpenAsked(2, "b", wait=True)))
    (third,) = run(table, (2, OpenAsked(3, "c", wait=True)))
    assert isinstance(second, TellPlace)
    assert isinstance(third, TellPlace)
    assert (second.place, third.place) == (1, 2)
    assert 0 < second.wait_s < third.wait_s
    (full,) = run(table, (3, OpenAsked(4, "d", wait=True)))
    assert isinstance(full, Refuse)
    assert full.code == "server_full"
    assert run(table, (4, SessionOver("a"))) == [], "the place is held until the engine has freed it"
    started, moved = run(table, (5, SessionFreed("a")))
    assert started == Start(2, "b", "token-2")
    assert isinstance(moved, TellPlace)
    assert (moved.socket, moved.place) == (3, 1)


def test_who_leaves_the_line_moves_the_others_up() -> None:
    table = new_table(max_sessions=1)
    run(table, (0, OpenAsked(1, "a")), (1, OpenAsked(2, "b", wait=True)), (2, OpenAsked(3, "c", wait=True)))
    (moved,) = run(table, (3, SocketLost(2)))
    assert isinstance(moved, TellPlace)
    assert (moved.socket, moved.place) == (3, 1)
    assert table.waiting_count == 1


def test_the_wait_learns_from_sessions_that_ended() -> None:
    table = new_table(max_sessions=1)
    run(table, (0, OpenAsked(1, "a")))
    (before,) = run(table, (1, OpenAsked(2, "b", wait=True)))
    run(table, (2, SocketLost(2)), (2, SessionOver("a")), (2, SessionFreed("a")), (3, OpenAsked(3, "a")))
    (after,) = run(table, (4, OpenAsked(4, "b", wait=True)))
    assert isinstance(before, TellPlace)
    assert isinstance(after, TellPlace)
    assert after.wait_s < before.wait_s


def test_until_the_engine_is_ready_nobody_gets_in_and_who_waits_may() -> None:
    table = new_table(ready=False)
    (refused,) = run(table, (0, OpenAsked(1, "a")))
    assert isinstance(refused, Refuse)
    assert refused.code == "not_ready"
    (place,) = run(table, (1, OpenAsked(2, "b", wait=True)))
    assert isinstance(place, TellPlace)
    assert run(table, (2, EngineReady())) == [Start(2, "b", "token-1")]


def test_a_session_id_is_taken_once() -> None:
    table = new_table(max_sessions=1)
    run(table, (0, OpenAsked(1, "a")), (0, OpenAsked(2, "b", wait=True)))
    for session_id in ("a", "b"):
        (refused,) = run(table, (1, OpenAsked(3, session_id, wait=True)))
        assert isinstance(refused, Refuse)
        assert refused.code == "session_in_use"


def test_a_lost_socket_comes_back_with_the_token_and_gets_a_new_one() -> None:
    table = new_table()
    run(table, (0, OpenAsked(1, "a")), (5, SocketLost(1)))
    assert table.detached_count == 1
    assert table.deadline() == 35
    assert run(table, (34, OpenAsked(2, "a", resume="token-1"))) == [Attach(2, "a", "token-2")]
    assert table.detached_count == 0
    run(table, (35, Heard(2)), (36, SocketLost(2)))
    (refused,) = run(table, (37, OpenAsked(3, "a", resume="token-1")))
    assert isinstance(refused, Refuse)
    assert refused.code == "resume_unknown", "a token is good once"
    assert run(table, (38, OpenAsked(4, "a", resume="token-2"))) == [Attach(4, "a", "token-3")]


def test_a_new_token_that_never_arrived_leaves_the_old_one_good() -> None:
    table = new_table()
    run(table, (0, OpenAsked(1, "a")), (5, SocketLost(1)), (6, OpenAsked(2, "a", resume="token-1")), (7, SocketLost(2)))
    assert run(table, (8, OpenAsked(3, "a", resume="token-1"))) == [Attach(3, "a", "token-3")]


def test_the_right_token_takes_a_living_socket_over() -> None:
    table = new_table()
    run(table, (0, OpenAsked(1, "a")), (1, Heard(1)))
    assert run(table, (2, OpenAsked(2, "a", resume="token-1"))) == [Drop(1), Attach(2, "a", "token-2")]
    assert run(table, (3, SocketLost(1))) == []
    assert table.detached_count == 0


@pytest.mark.parametrize("resume", ["wrong", "", "token-2", "tökén"])
def test_a_wrong_token_takes_nothing_over(resume: str) -> None:
    table = new_table()
    run(table, (0, OpenAsked(1, "a")))
    (refused,) = run(table, (1, OpenAsked(2, "a", resume=resume)))
    assert isinstance(refused, Refuse)
    assert refused.code == "session_in_use"
    (refused,) = run(table, (2, SocketLost(1)), (3, OpenAsked(3, "a", resume=resume)))
    assert isinstance(refused, Refuse)
    assert refused.code == "resume_unknown"
    (refused,) = run(table, (3, OpenAsked(3, "nobody", resume="token-1")))
    assert isinstance(refused, Refuse)
    assert refused.code == "resume_unknown"


def test_a_socket_that_does_not_come_back_ends_the_session() -> None:
    table = new_table()
    run(table, (0, OpenAsked(1, "a")), (5, SocketLost(1)))
    assert run(table, (34.9, Tick())) == []
    (end,) = run(table, (35, Tick()))
    assert isinstance(end, End)
    assert end.reason == "lost"
    (refused,) = run(table, (35, OpenAsked(2, "a", resume="token-1")))
    assert isinstance(refused, Refuse)
    run(table, (36, SessionFreed("a")))
    assert (table.open_count, table.deadline()) == (0, None)


def test_an_idle_session_ends_and_each_message_keeps_it() -> None:
    table = new_table()
    run(table, (0, OpenAsked(1, "a")), (200, Heard(1)))
    assert table.deadline() == 500
    assert run(table, (499, Tick())) == []
    (end,) = run(table, (500, Tick()))
    assert isinstance(end, End)
    assert (end.session_id, end.reason) == ("a", "idle")
    assert run(table, (501, SocketLost(1)), (502, Tick())) == []


def test_an_end_that_hangs_is_forced_once() -> None:
    table = new_table()
    run(table, (0, OpenAsked(1, "a")), (300, Tick()))
    assert table.deadline() == 305
    assert run(table, (305, Tick())) == [Abandon("a")]
    assert table.deadline() is None
    assert run(table, (1_000, Tick())) == []


def test_draining_tells_all_admits_none_and_ends_at_the_deadline() -> None:
    table = new_table()
    run(table, (0, OpenAsked(1, "a")), (0, OpenAsked(2, "b")), (0, OpenAsked(3, "c", wait=True)), (1, SocketLost(2)))
    effects = run(table, (2, Drain(10)))
    assert isinstance(effects[0], Refuse)
    assert (effects[0].socket, effects[0].code) == (3, "draining")
    assert effects[1] == TellDraining(1, 10)
    assert isinstance(effects[2], End)
    assert effects[2].session_id == "b"
    run(table, (2, SessionFreed("b")))
    (refused,) = run(table, (3, OpenAsked(4, "d", wait=True)))
    assert isinstance(refused, Refuse)
    assert refused.code == "draining"
    assert run(table, (11.9, Tick())) == []
    (end,) = run(table, (12, Tick()))
    assert isinstance(end, End)
    assert (end.session_id, end.reason) == ("a", "draining")


def test_a_socket_lost_while_draining_is_not_waited_for() -> None:
    table = new_table()
    (end,) = run(table, (0, OpenAsked(1, "a")), (1, Drain(10)), (2, SocketLost(1)))
    assert isinstance(end, End)


events = st.one_of(
    st.builds(
        OpenAsked,
        socket=st.integers(100, 10_000),
        session_id=st.sampled_from("abcd"),
        resume=st.none() | st.integers(1, 9).map(lambda number: f"token-{number}"),
        wait=st.booleans(),
    ),
    st.builds(Heard, st.integers(0, 9)),
    st.builds(SocketLost, st.integers(0, 9)),
    st.builds(SessionOver, st.sampled_from("abcd")),
    st.builds(SessionFreed, st.sampled_from("abcd")),
    st.just(Tick()),
    st.builds(Drain, st.floats(0, 20)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), events), max_size=60))
def test_no_history_breaks_the_table(history: list[tuple[float, Event]]) -> None:
    """At most `max_sessions` are open, none starts twice, only living sockets are spoken to, deadlines lie ahead."""
    table, now = new_table(), 0.0
    living: dict[int, str] = {}
    running: set[str] = set()
    ended: set[str] = set()
    for delay, event in history:
        now += delay
        if isinstance(event, OpenAsked):
            living[event.socket] = event.session_id
        if isinstance(event, Heard | SocketLost):
            sockets = sorted(living)
            if not sockets:
                continue
            event = type(event)(sockets[event.socket % len(sockets)])
        if isinstance(event, SocketLost):
            del living[event.socket]
        if isinstance(event, SessionFreed) and event.session_id not in ended:
            continue
        if isinstance(event, SessionOver) and event.session_id in running:
            ended.add(event.session_id)
        if isinstance(event, SessionFreed):
            running.discard(event.session_id)
            ended.discard(event.session_id)
        for effect in table.handle(event, now) + table.handle(Tick(), now):
            match effect:
                case Start():
                    assert effect.session_id not in running
                    assert living[effect.socket] == effect.session_id
                    running.add(effect.session_id)
                case Attach():
                    assert effect.session_id in running - ended
                    assert living[effect.socket] == effect.session_id
                case Refuse() | TellPlace() | TellDraining():
                    assert effect.socket in living
                case Drop():
                    living.pop(effect.socket, None)
                case End():
                    assert effect.session_id in running
                    ended.add(effect.session_id)
                case Abandon():
                    assert effect.session_id in ended
        assert table.open_count == len(running) <= 2
        deadline = table.deadline()
        assert deadline is None or deadline >= now
