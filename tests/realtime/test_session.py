"""The session's shell over wires in memory: opening, losing, recovering, giving up and closing, without waiting."""

from __future__ import annotations

import asyncio

import pytest

from model_server.protocol import (
    Close,
    Done,
    Error,
    Open,
    Prefilled,
    Queued,
    Refused,
    Reply,
    SessionConfig,
    Speech,
    Text,
    encode,
)
from realtime.session.model_session import (
    ModelServerGarbage,
    ModelServerUnavailable,
    ModelSession,
    Recovery,
    SessionRefused,
    SessionState,
)
from realtime.session.socket import Address
from tests.realtime.memory_server import Ear, House, MemoryAddress, MemoryWire, opened
from tests.realtime.scripted_server import ScriptedServer
from tests.realtime.session_line import unit, unit_step

# Opening ------------------------------------------------------------------------------------------------------------


async def test_opens_writes_and_says_good_bye() -> None:
    house = House()
    async with opened(house) as (session, ear):
        assert session.state is SessionState.CONNECTED
        assert (session.capabilities.engine, session.limits.max_sessions) == ("scripted", 8)
        assert session.prefill(unit("a")) == 1
        await ear.until_written(1)
    assert isinstance(house.wire.requests[-1], Close)
    assert house.wire.closed
    assert ear.states == []


async def test_closing_twice_is_no_error_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with opened(House()) as (session, _):
        await session.close()
        assert session.state is SessionState.CLOSED
    assert asyncio.all_tasks() == before


async def test_a_refusal_is_typed_and_closes_the_socket() -> None:
    house = House()
    house.greetings = [[Refused(code="server_full", message="try later", retry_after=7.5)]]
    with pytest.raises(SessionRefused, match="try later") as refused:
        async with opened(house):
            pass
    assert (refused.value.code, refused.value.retry_after) == ("server_full", 7.5)
    assert house.wire.closed


async def test_a_server_that_is_not_there_is_typed() -> None:
    with pytest.raises(ModelServerUnavailable, match="nobody is there"):
        async with opened(House(failures=1)):
            pass


@pytest.mark.parametrize("garbage", ["text", b"\xc1\xff", encode(Prefilled(seq=1, kv_length=1, ms=1))])
async def test_a_server_that_answers_garbage_is_typed(garbage: str | bytes) -> None:
    house = House(greetings=[[]])

    async def connect(address: Address, session_id: str) -> MemoryWire:
        wire = await house.connect(address, session_id)
        wire.say(garbage)
        return wire

    with pytest.raises(ModelServerGarbage):
        await ModelSession.open(MemoryAddress(), "call", SessionConfig(), Ear(), connect=connect)
    assert house.wire.closed


async def test_a_server_that_hangs_up_instead_of_answering_is_typed() -> None:
    house = House(greetings=[[]])

    async def connect(address: Address, session_id: str) -> MemoryWire:
        wire = await house.connect(address, session_id)
        wire.lose()
        return wire

    with pytest.raises(ModelServerUnavailable, match="hung up"):
        await ModelSession.open(MemoryAddress(), "call", SessionConfig(), Ear(), connect=connect)
    assert house.wire.closed


async def test_a_place_in_line_is_told_until_it_is_ours() -> None:
    house = House(greetings=[[Queued(place=2, wait_s=60)]])
    places: list[tuple[int, float]] = []
    told = asyncio.Event()

    def on_queued(place: int, wait_s: float) -> None:
        places.append((place, wait_s))
        told.set()

    opening = asyncio.create_task(
        ModelSession.open(MemoryAddress(), "call", SessionConfig(), Ear(), on_queued=on_queued, connect=house.connect)
    )
    await told.wait()
    assert house.wire.requests == [Open(config=SessionConfig(), wait=True)]
    house.wire.say(Queued(place=1, wait_s=30))
    house.wire.session, replies = house.server.open("call", Open())
    house.wire.say(replies[0])
    session = await opening
    assert places == [(2, 60), (1, 30)]
    await session.close()


async def test_cancelling_leaves_the_line() -> None:
    house = House(greetings=[[Queued(place=2, wait_s=60)]])
    told = asyncio.Event()
    opening = asyncio.create_task(
        ModelSession.open(
            MemoryAddress(), "call", SessionConfig(), Ear(), on_queued=lambda *_: told.set(), connect=house.connect
        )
    )
    await told.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert house.wire.closed


# Recovering ---------------------------------------------------------------------------------------------------------


async def test_a_lost_socket_is_replaced_and_the_session_taken_up() -> None:
    house = House()
    async with opened(house) as (session, ear):
        session.prefill(unit("a"))
        await ear.until_written(1)
        house.wire.lose()
        await ear.until_state(SessionState.CONNECTED)
        session.prefill(unit("b"))
        await ear.until_written(2)
        assert [state for state, _ in ear.states] == [SessionState.RECOVERING, SessionState.CONNECTED]
        assert house.names == ["call", "call"]
        assert house.pauses == []
        assert house.server.sessions["call"].context == (unit_step("a"), unit_step("b"))
        assert session.stats.resumed == 1


async def test_a_dead_server_is_replaced_by_a_replay_under_a_new_name() -> None:
    house = House()
    async with opened(house) as (session, ear):
        session.prefill(unit("a", b"picture"))
        await ear.until_written(1)
        house.server = ScriptedServer()
        house.wire.lose()
        await ear.until_state(SessionState.CONNECTED)
        session.prefill(unit("b"))
        await ear.until_written(2)
        assert house.names == ["call", "call", "call-1"]
        assert house.server.sessions["call-1"].context == (unit_step("a", b"picture"), unit_step("b"))
        assert ear.written == [1, 2]


async def test_pauses_double_up_to_two_seconds_while_nobody_answers() -> None:
    house = House()
    async with opened(house) as (_, ear):
        house.failures = 7
        house.wire.lose()
        await ear.until_state(SessionState.CONNECTED)
    assert house.pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


async def test_jitter_halves_a_pause_at_most() -> None:
    assert Recovery(jitter=lambda: 0.0).pause(1) == 0.05
    assert Recovery(jitter=lambda: 1.0).pause(99) == 2.0


async def test_what_is_written_meanwhile_follows_in_order() -> None:
    house = House()
    async with opened(house) as (session, ear):
        house.failures = 3
        house.wire.lose()
        await ear.until_state(SessionState.RECOVERING)
        for name in "abcd":
            session.prefill(unit(name, b"picture"))
        await ear.until_written(4)
        assert house.server.sessions["call"].context == (
            unit_step("a"),
            unit_step("b"),
            unit_step("c"),
            unit_step("d", b"picture"),
        )
        assert session.stats.pictures_dropped == 3


async def test_after_thirty_seconds_it_is_lost() -> None:
    house = House()
    async with opened(house) as (session, ear):
        house.failures = 10_000
        house.wire.lose()
        await ear.until_state(SessionState.LOST)
        assert 28 <= sum(house.pauses) <= 30
        assert "30 s" in ear.states[-1][1]
        assert session.state is SessionState.LOST


@pytest.mark.parametrize("code", ["protocol_mismatch", "invalid_config"])
async def test_a_refusal_that_will_not_change_ends_it_at_once(code: str) -> None:
    house = House()
    async with opened(house) as (_, ear):
        house.greetings = [[Refused(code=code, message="never")]]
        house.wire.lose()
        await ear.until_state(SessionState.LOST)
    assert house.pauses == []


async def test_a_full_server_is_asked_again() -> None:
    house = House()
    async with opened(house) as (_, ear):
        house.greetings = [[Refused(code="server_full", message="later")]] * 3
        house.wire.lose()
        await ear.until_state(SessionState.CONNECTED)
    assert len(house.pauses) == 3


@pytest.mark.parametrize("garbage", ["text", b"\xc1\xff"])
async def test_garbage_in_mid_call_costs_the_socket_and_not_the_session(garbage: str | bytes) -> None:
    house = House()
    async with opened(house) as (session, ear):
        session.prefill(unit("a"))
        await ear.until_written(1)
        house.wire.say(garbage)
        await ear.until_state(SessionState.CONNECTED)
        session.prefill(unit("b"))
        await ear.until_written(2)
        assert house.wires[0].closed
        assert house.server.sessions["call"].context == (unit_step("a"), unit_step("b"))


async def test_a_server_that_does_nothing_but_garbage_is_given_up() -> None:
    house = House()

    async def connect(address: Address, session_id: str) -> MemoryWire:
        wire = await house.connect(address, session_id)
        wire.then = "garbage"
        return wire

    ear = Ear()
    session = await ModelSession.open(
        MemoryAddress(), "call", SessionConfig(), ear, connect=connect, recovery=house.recovery
    )
    await ear.until_state(SessionState.LOST)
    assert 28 <= sum(house.pauses) <= 30
    assert len(house.wires) == len(house.pauses) + 2
    await session.close()


async def test_a_session_that_ended_is_closed_and_replayed() -> None:
    house = House()
    async with opened(house) as (session, ear):
        session.prefill(unit("a"))
        await ear.until_written(1)
        house.wire.say(Error(code="engine_failed", message="broke"))
        await ear.until_state(SessionState.CONNECTED)
        session.prefill(unit("b"))
        await ear.until_written(2)
        assert isinstance(house.wires[0].requests[-1], Close)
        assert house.server.sessions["call-1"].context == (unit_step("a"), unit_step("b"))
        assert ear.states[0] == (SessionState.RECOVERING, "engine_failed")


async def test_a_response_cut_by_a_lost_server_is_told_after_the_loss() -> None:
    house = House()
    async with opened(house) as (session, ear):
        session.prefill(unit("a"))
        session.generate("r1")
        await ear.until_written(1)
        await ear.until(lambda: len(ear.replies) == 2)
        assert house.wire.session is not None
        for reply in house.wire.session.speak():
            house.wire.say(reply)
        await ear.until(lambda: isinstance(ear.replies[-1], Speech))
        house.server = ScriptedServer()
        house.wire.lose()
        await ear.until_state(SessionState.CONNECTED)
        assert ear.replies[-1] == Done(response_id="r1", reason="failed")
        said = "".join(reply.text for reply in ear.replies if isinstance(reply, Text))
        session.prefill(unit("b"))
        await ear.until_written(2)
        assert house.server.sessions["call-1"].context == (unit_step("a"), ("assistant", said), unit_step("b"))


async def test_answers_that_need_no_server_come_while_there_is_none() -> None:
    house = House()
    async with opened(house) as (session, ear):
        house.failures = 10_000
        house.wire.lose()
        await ear.until_state(SessionState.RECOVERING)
        session.cancel("nobody")
        await ear.until(lambda: len(ear.replies) == 1)
        assert isinstance(ear.replies[0], Error)


async def test_nothing_is_told_out_of_the_request_that_causes_it() -> None:
    async with opened(House()) as (session, ear):
        session.cancel("nobody")
        assert ear.replies == []
        await ear.until(lambda: len(ear.replies) == 1)


async def test_busy_items_come_back() -> None:
    house = House()
    async with opened(house) as (session, ear):
        session.generate("r1")
        await ear.until(lambda: len(ear.replies) == 1)
        session.prefill(unit("a"))
        await ear.until(lambda: ear.busy == [(1, unit("a"))])


async def test_closing_while_it_recovers_ends_at_once() -> None:
    house = House()
    async with opened(house) as (session, ear):
        house.failures = 10_000
        house.wire.lose()
        await ear.until_state(SessionState.RECOVERING)
        await session.close()
        assert session.state is SessionState.CLOSED


async def test_closing_does_not_wait_for_a_server_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.session.model_session.CLOSE_S", 0.01)
    house = House()
    async with opened(house):
        house.wire.stuck.clear()
    assert house.wire.closed


async def test_a_listener_that_breaks_loses_the_session_and_says_so() -> None:
    house = House()
    async with opened(house) as (session, ear):

        def break_down(reply: Reply) -> None:
            raise RuntimeError("a fault in the call")

        ear.on_reply = break_down  # type: ignore[method-assign]
        session.prefill(unit("a"))
        await ear.until_state(SessionState.LOST)
        assert ear.states[-1] == (SessionState.LOST, "internal error")
