"""Who gets in: the gateway's slots, the model server's sessions, and the line of those who wait.

A slot is taken before a session is opened and given back when its call has ended, so the gateway never carries more
than it can. Slots are granted in order of arrival; a newcomer never overtakes the line. A ticket holds one place: a
task that takes the next slot and opens a session. Its owner repeats the request before `TICKET_S` runs out, or loses
the place.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from realtime.web.refusals import CallRefused, ServerFull, UnknownTicket

TICKET_S = 15.0
"""A place that nobody asks for that long is given to the next."""

_FIRST_GUESS_S = 120.0
_log = structlog.get_logger(__name__)


class CallHandle(Protocol):
    """One call, from the moment its session is open.

    `ended` is set once everything the call held is freed, whoever ended it; `end_reason` then says why (a short word).
    """

    call_id: str
    ended: asyncio.Event
    end_reason: str

    async def answer(self, offer_sdp: str) -> str:
        """Create the peer connection; returns the SDP answer. Raises `OfferRejected`."""
        ...

    async def hang_up(self, reason: str) -> None:
        """End the call and free everything. May be called again and at any time."""
        ...

    @property
    def voices(self) -> dict[str, bytes]:
        """Clips that the caller brought, by name: PCM16 LE mono 16 kHz."""
        ...


class CallFactory(Protocol):
    """Opens sessions at the model server: admission comes before any peer connection."""

    async def open(self, call_id: str, on_queued: Callable[[int, float], None] | None = None) -> CallHandle:
        """Open a session. Raises `ServerFull`, `ModelServerUnavailable`, `CallRefused`.

        With `on_queued`, a full model server is waited for: it is called with (place, wait_s) at once and at every
        change. Cancelling leaves the line. Without it, full is `ServerFull`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the waiting line; 1 is next. `wait_s` is an estimate."""

    ticket: str
    place: int
    wait_s: float


class _Ticket:
    """One who waits: `told` is set as soon as it is known that there is something to wait for."""

    def __init__(self, expires_at: float) -> None:
        self.name = secrets.token_urlsafe(16)
        self.expires_at = expires_at
        self.place = 0
        self.wait_s = 0.0
        self.told = asyncio.Event()
        self.task: asyncio.Task[CallHandle] | None = None

    def queued(self, place: int, wait_s: float) -> None:
        self.place, self.wait_s = place, wait_s
        self.told.set()


class Admission:
    """Hands out call handles, at most `slots` at a time. Every handle is given back by `release`."""

    def __init__(self, factory: CallFactory, *, slots: int, places: int, clock: Callable[[], float]) -> None:
        self._factory = factory
        self._slots = asyncio.Semaphore(slots)
        self._slot_count = slots
        self._places = places
        self._clock = clock
        self._tickets: dict[str, _Ticket] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._mean_call_s = _FIRST_GUESS_S
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._tickets)

    async def open(self) -> CallHandle:
        """A call now. Raises what `CallFactory.open` raises."""
        self._check_open()
        if self._slots.locked():
            raise ServerFull(self._retry_after())
        return await self._open(None)

    async def open_or_wait(self, ticket_name: str | None) -> CallHandle | Place:
        """A call now, or a place in line; with the ticket of an earlier place, that place."""
        self._check_open()
        ticket = self._join() if ticket_name is None else self._known(ticket_name)
        ticket.expires_at = self._clock() + TICKET_S
        assert ticket.task is not None
        await self._first_word(ticket)
        self._known(ticket.name)
        if not ticket.task.done():
            return self._place_of(ticket)
        del self._tickets[ticket.name]
        return await ticket.task

    def release(self, call_s: float) -> None:
        """A call that lasted `call_s` seconds has ended: its slot is free."""
        self._mean_call_s += 0.2 * (call_s - self._mean_call_s)
        self._slots.release()

    def sweep(self, now: float) -> None:
        """Take the places of those who stopped asking."""
        for ticket in [ticket for ticket in self._tickets.values() if ticket.expires_at <= now]:
            self._drop(ticket)

    async def aclose(self) -> None:
        """Send everyone home; nobody gets in afterwards."""
        self._closed = True
        for ticket in list(self._tickets.values()):
            self._drop(ticket)
        if self._leaving:
            await asyncio.wait(self._leaving)

    # ---------------------------------------------------------------------------------------------- the line

    def _check_open(self) -> None:
        if self._closed:
            raise CallRefused("shutting_down", "the service is going away", retry_after=10.0)

    def _join(self) -> _Ticket:
        if self._slots.locked() and len(self._tickets) >= self._places:
            raise ServerFull(self._retry_after(), "every line is busy and the waiting line is full")
        ticket = _Ticket(self._clock() + TICKET_S)
        self._tickets[ticket.name] = ticket
        ticket.task = asyncio.create_task(self._stand_in_line(ticket), name="waiting for a call")
        return ticket

    def _known(self, name: str) -> _Ticket:
        ticket = self._tickets.get(name)
        if ticket is None:
            raise UnknownTicket
        return ticket

    async def _first_word(self, ticket: _Ticket) -> None:
        """Wait until the session is open or refused, or it is known that it will take a while."""
        assert ticket.task is not None
        told = asyncio.create_task(ticket.told.wait())
        try:
            await asyncio.wait({ticket.task, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()

    async def _stand_in_line(self, ticket: _Ticket) -> CallHandle:
        if self._slots.locked():
            ticket.told.set()
        return await self._open(ticket.queued)

    async def _open(self, on_queued: Callable[[int, float], None] | None) -> CallHandle:
        await self._slots.acquire()
        try:
            return await self._factory.open(f"call_{secrets.token_hex(12)}", on_queued)
        except BaseException:
            self._slots.release()
            raise

    def _place_of(self, ticket: _Ticket) -> Place:
        """What the model server said, but never less than one behind those ahead in our own line."""
        waiting = [other for other in self._tickets.values() if other.task is not None and not other.task.done()]
        place = max(ticket.place, waiting.index(ticket) + 1)
        return Place(ticket.name, place, round(ticket.wait_s or place * self._mean_call_s / self._slot_count, 1))

    def _drop(self, ticket: _Ticket) -> None:
        del self._tickets[ticket.name]
        task = asyncio.create_task(self._leave(ticket), name="leaving the waiting line")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, ticket: _Ticket) -> None:
        """Give back the place, or the session nobody came for."""
        assert ticket.task is not None
        ticket.task.cancel()
        await asyncio.wait({ticket.task})
        if ticket.task.cancelled() or ticket.task.exception() is not None:
            return
        try:
            await ticket.task.result().hang_up("ticket_expired")
        finally:
            self._slots.release()
        _log.info("waiting_call_expired")

    def _retry_after(self) -> float:
        """Seconds until a slot is likely to be free, within reason."""
        return min(60.0, max(5.0, self._mean_call_s / self._slot_count))
