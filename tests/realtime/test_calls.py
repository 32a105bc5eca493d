"""The table of calls and the waiting line: who gets in, who is let out, and that nothing stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from realtime.service.metrics import Metrics
from realtime.web.admission import TICKET_S, Place
from realtime.web.calls import CallLimits, Calls, NewCall
from realtime.web.offers import OfferRejected
from realtime.web.refusals import (
    CallRefused,
    ModelServerUnavailable,
    ServerFull,
    UnknownCall,
    UnknownTicket,
    WrongSecret,
)
from tests.realtime.call_doubles import Clock, FactoryDouble, settle
from tests.realtime.sdp_samples import CALL


class House:
    """Calls with two slots and three places in line, and everything around them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.factory = FactoryDouble()
        self.metrics = Metrics()
        limits = CallLimits(max_calls=2, max_call_s=600.0, waiting_places=3)
        self.calls = Calls(self.factory, self.metrics, limits, clock=self.clock)

    async def make(self) -> NewCall:
        made = await self.calls.create(CALL)
        assert isinstance(made, NewCall)
        return made

    async def wait(self, ticket: str | None = None) -> Place:
        place = await self.calls.create(CALL, wait=True, ticket=ticket)
        assert isinstance(place, Place)
        return place

    def measure(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.calls.aclose()
    assert house.factory.live == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_call_is_made_and_hung_up_with_its_secret(house: House) -> None:
    call = await house.make()
    assert call.answer == f"v=0 answer to {call.call_id}"
    assert len(call.secret) >= 22  # 128 bit
    assert house.measure("realtime_calls_open") == 1
    await house.calls.hang_up(call.call_id, call.secret)
    await settle()
    assert len(house.calls) == 0
    assert house.factory.calls[0].end_reason == "hang_up"
    assert house.measure("realtime_calls_ended_total", reason="hang_up") == 1


async def test_hanging_up_again_is_no_error_but_only_with_the_secret(house: House) -> None:
    call = await house.make()
    await house.calls.hang_up(call.call_id, call.secret)
    await settle()
    await house.calls.hang_up(call.call_id, call.secret)
    with pytest.raises(WrongSecret):
        await house.calls.hang_up(call.call_id, "guess")


@pytest.mark.parametrize("secret", ["", "guess", "ü"])
async def test_a_wrong_secret_ends_nothing(house: House, secret: str) -> None:
    call = await house.make()
    with pytest.raises(WrongSecret):
        await house.calls.hang_up(call.call_id, secret)
    assert len(house.factory.live) == 1


async def test_the_secret_of_another_call_is_wrong(house: House) -> None:
    first, second = await house.make(), await house.make()
    assert first.secret != second.secret
    with pytest.raises(WrongSecret):
        await house.calls.hang_up(first.call_id, second.secret)


async def test_an_unknown_call_is_unknown(house: House) -> None:
    with pytest.raises(UnknownCall):
        await house.calls.hang_up("call_1", "guess")


async def test_a_call_that_ends_by_itself_leaves_the_table_and_its_slot(house: House) -> None:
    for _ in range(5):
        await house.make()
        await house.factory.calls[-1].hang_up("peer_lost")
        await settle()
    assert len(house.calls) == 0
    assert house.measure("realtime_calls_ended_total", reason="peer_lost") == 5


async def test_no_more_calls_than_slots(house: House) -> None:
    await house.make()
    await house.make()
    with pytest.raises(ServerFull) as full:
        await house.make()
    assert full.value.retry_after is not None
    assert full.value.retry_after >= 5
    assert len(house.factory.calls) == 2, "no session was opened for a call that cannot be"


@pytest.mark.parametrize(
    "refusal", [ServerFull(3.0), ModelServerUnavailable("gone"), CallRefused("invalid_config", "no such mode")]
)
async def test_what_the_model_server_refuses_costs_no_slot(house: House, refusal: Exception) -> None:
    house.factory.refusal = refusal  # type: ignore[assignment]
    for _ in range(3):
        with pytest.raises(type(refusal)):
            await house.make()
    house.factory.refusal = None
    await house.make()
    await house.make()


async def test_an_offer_that_the_peer_refuses_frees_session_and_slot(house: House) -> None:
    house.factory.answer_error = OfferRejected("invalid_sdp", "no codec in common")
    for _ in range(3):
        with pytest.raises(OfferRejected):
            await house.make()
    assert house.factory.live == []
    assert {call.end_reason for call in house.factory.calls} == {"offer_rejected"}


async def test_a_request_that_is_cancelled_frees_session_and_slot(house: House) -> None:
    house.factory.gate = asyncio.Event()
    for _ in range(3):
        request = asyncio.create_task(house.make())
        await settle()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await settle()
        assert house.factory.live == []
    house.factory.gate.set()
    await house.make()


async def test_a_call_over_its_time_is_ended(house: House) -> None:
    await house.make()
    house.calls.sweep(house.clock.now + 599)
    await settle()
    assert len(house.calls) == 1
    house.calls.sweep(house.clock.now + 600)
    await settle()
    assert len(house.calls) == 0
    assert house.factory.calls[0].end_reason == "time_limit"


async def test_closing_hangs_up_all_and_lets_nobody_in(house: House) -> None:
    await house.make()
    house.factory.gate = asyncio.Event()
    late = asyncio.create_task(house.make())
    await settle()
    await house.calls.aclose()
    house.factory.gate.set()
    with pytest.raises(CallRefused) as refused:
        await late
    assert refused.value.code == "shutting_down"
    with pytest.raises(CallRefused):
        await house.make()
    assert house.factory.live == []


# --------------------------------------------------------------------------------------------------------------------
# The waiting line


async def test_who_waits_gets_the_next_slot(house: House) -> None:
    first = await house.make()
    await house.make()
    place = await house.wait()
    assert (place.place, place.wait_s > 0) == (1, True)
    assert await house.wait(place.ticket) == place
    await house.calls.hang_up(first.call_id, first.secret)
    await settle()
    made = await house.calls.create(CALL, ticket=place.ticket)
    assert isinstance(made, NewCall)
    assert len(house.factory.live) == 2
    with pytest.raises(UnknownTicket):
        await house.wait(place.ticket)


async def test_with_a_free_slot_there_is_no_line(house: House) -> None:
    assert isinstance(await house.calls.create(CALL, wait=True), NewCall)


async def test_places_are_in_order_and_nobody_overtakes(house: House) -> None:
    first = await house.make()
    await house.make()
    places = [await house.wait() for _ in range(3)]
    assert [place.place for place in places] == [1, 2, 3]
    with pytest.raises(ServerFull, match="waiting line is full"):
        await house.wait()
    await house.calls.hang_up(first.call_id, first.secret)
    with pytest.raises(ServerFull):
        await house.make()
    assert [(await house.wait(place.ticket)).place for place in places[1:]] == [1, 2]
    assert isinstance(await house.calls.create(CALL, ticket=places[0].ticket), NewCall)


async def test_two_who_come_at_once_for_one_slot(house: House) -> None:
    await house.make()
    results = await asyncio.gather(*(house.calls.create(CALL, wait=True) for _ in range(2)))
    assert {type(result) for result in results} == {NewCall, Place}


async def test_the_model_servers_own_line_is_told(house: House) -> None:
    house.factory.sessions = 1
    first = await house.make()
    place = await house.wait()
    assert (place.place, place.wait_s) == (1, 20.0)
    await house.calls.hang_up(first.call_id, first.secret)
    house.factory.queue[0].set_result(None)
    await settle()
    assert isinstance(await house.calls.create(CALL, ticket=place.ticket), NewCall)


async def test_a_place_nobody_asks_for_goes_to_the_next(house: House) -> None:
    await house.make()
    await house.make()
    gone = await house.wait()
    house.clock.now += TICKET_S - 1
    stays = await house.wait()
    house.clock.now += 1
    house.calls.sweep(house.clock.now)
    await settle()
    assert (await house.wait(stays.ticket)).place == 1
    with pytest.raises(UnknownTicket):
        await house.wait(gone.ticket)


async def test_a_session_nobody_comes_for_is_given_back(house: House) -> None:
    first = await house.make()
    await house.make()
    place = await house.wait()
    await house.calls.hang_up(first.call_id, first.secret)
    await settle()
    assert len(house.factory.live) == 2, "the session for the one who waits is open"
    house.calls.sweep(house.clock.now + TICKET_S)
    await settle()
    assert house.factory.calls[-1].end_reason == "ticket_expired"
    await house.make()
    with pytest.raises(UnknownTicket):
        await house.wait(place.ticket)


async def test_leaving_the_line_leaves_the_model_servers_line(house: House) -> None:
    house.factory.sessions = 0
    await house.wait()
    assert len(house.factory.queue) == 1
    house.calls.sweep(house.clock.now + TICKET_S)
    await settle()
    assert house.factory.queue == []


async def test_a_refusal_while_waiting_is_told_to_who_waits(house: House) -> None:
    first = await house.make()
    await house.make()
    place = await house.wait()
    house.factory.refusal = ModelServerUnavailable("gone")
    await house.calls.hang_up(first.call_id, first.secret)
    await settle()
    with pytest.raises(ModelServerUnavailable):
        await house.wait(place.ticket)
    house.factory.refusal = None
    await house.make()


async def test_a_ticket_of_nobody_is_unknown(house: House) -> None:
    with pytest.raises(UnknownTicket):
        await house.wait("made-up")


async def test_a_hundred_calls_leave_nothing(house: House) -> None:
    for number in range(100):
        call = await house.make()
        if number % 2:
            await house.calls.hang_up(call.call_id, call.secret)
        else:
            await house.factory.calls[-1].hang_up("peer_lost")
        await settle()
    assert len(house.calls) == 0
    assert house.measure("realtime_calls_total") == 100
