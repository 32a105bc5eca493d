"""The table of calls: made, found by their secret, ended.

The secret of a call is handed out once and kept as a digest only. Whatever ends a call (its person, the network, the
time limit, shutdown), its entry leaves the table and its slot is free when the call has freed everything it held.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from realtime.service.metrics import Metrics
from realtime.web.admission import Admission, CallFactory, CallHandle, Place
from realtime.web.offers import OfferRejected
from realtime.web.refusals import CallRefused, TooManyVoices, UnknownCall, WrongSecret

MAX_VOICES = 4
"""Clips one call may bring; each has up to 960 kB."""

_ENDED_REMEMBERED = 256
_NO_DIGEST = hashlib.sha256(secrets.token_bytes(16)).digest()
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """`max_calls` at once, `max_call_s` seconds each, `waiting_places` in line."""

    max_calls: int
    max_call_s: float
    waiting_places: int


@dataclass(frozen=True, slots=True)
class NewCall:
    """What a client gets: `secret` is told once and never again."""

    call_id: str
    secret: str
    answer: str


@dataclass(slots=True)
class _Entry:
    handle: CallHandle
    digest: bytes
    since: float


class Calls:
    """All calls of this gateway. `clock` counts seconds and never goes back."""

    def __init__(
        self, factory: CallFactory, metrics: Metrics, limits: CallLimits, *, clock: Callable[[], float]
    ) -> None:
        self._metrics = metrics
        self._limits = limits
        self._clock = clock
        self._admission = Admission(factory, slots=limits.max_calls, places=limits.waiting_places, clock=clock)
        self._entries: dict[str, _Entry] = {}
        self._ended: OrderedDict[str, bytes] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        metrics.calls_open.set_function(lambda: len(self._entries))
        metrics.calls_waiting.set_function(lambda: self._admission.waiting)

    def __len__(self) -> int:
        return len(self._entries)

    async def create(self, offer: str, *, wait: bool = False, ticket: str | None = None) -> NewCall | Place:
        """Make a call from a checked offer, or (`wait`, or with a `ticket`) take a place in line. Raises `Refusal`."""
        began = self._clock()
        if wait or ticket is not None:
            admitted = await self._admission.open_or_wait(ticket)
        else:
            admitted = await self._admission.open()
        if isinstance(admitted, Place):
            return admitted
        call = await self._answer(admitted, offer, began)
        self._metrics.connect_seconds.observe(self._clock() - began)
        return call

    async def hang_up(self, call_id: str, secret: str) -> None:
        """End a call; returns when it has freed everything. Raises `UnknownCall`, `WrongSecret`.

        A call that ended a little while ago is no error: a client may repeat its hang-up.
        """
        entry = self._entries.get(call_id)
        digest = entry.digest if entry is not None else self._ended.get(call_id)
        known = hmac.compare_digest(_digest(secret), digest or _NO_DIGEST)
        if digest is None:
            raise UnknownCall
        if not known:
            raise WrongSecret
        if entry is not None:
            await entry.handle.hang_up("hang_up")

    def voices(self, secret: str) -> tuple[str, ...]:
        """Names of the clips that the call with this secret brought. Raises `WrongSecret`."""
        return tuple(self._owned_by(secret).handle.voices)

    def add_voice(self, secret: str, pcm: bytes) -> str:
        """Keep a clip for the call with this secret until it ends; returns its name. `WrongSecret`, `TooManyVoices`."""
        voices = self._owned_by(secret).handle.voices
        if len(voices) >= MAX_VOICES:
            raise TooManyVoices(MAX_VOICES)
        name = f"voice_{secrets.token_hex(8)}"
        voices[name] = pcm
        return name

    def _owned_by(self, secret: str) -> _Entry:
        digest = _digest(secret)
        for entry in self._entries.values():
            if hmac.compare_digest(entry.digest, digest):
                return entry
        raise WrongSecret

    def sweep(self, now: float) -> None:
        """Called every second or so: ends calls over the time limit, gives away places nobody asks for."""
        self._admission.sweep(now)
        for entry in self._entries.values():
            if now - entry.since >= self._limits.max_call_s:
                self._own(entry.handle.hang_up("time_limit"))

    async def aclose(self) -> None:
        """End every call and wait until all is freed."""
        self._closed = True
        for entry in self._entries.values():
            self._own(entry.handle.hang_up("shutdown"))
        await self._admission.aclose()
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    # ---------------------------------------------------------------------------------------------- one call

    async def _answer(self, handle: CallHandle, offer: str, began: float) -> NewCall:
        """From the open session to the entry in the table; whatever fails, nothing stays behind."""
        try:
            answer = await handle.answer(offer)
            if self._closed:
                raise CallRefused("shutting_down", "the service is going away", retry_after=10.0)
        except BaseException as error:
            reason = "offer_rejected" if isinstance(error, OfferRejected) else "not_made"
            await asyncio.shield(self._own(self._discard(handle, reason, began)))
            raise
        secret = secrets.token_urlsafe(16)
        self._entries[handle.call_id] = entry = _Entry(handle, _digest(secret), began)
        self._metrics.calls.inc()
        self._own(self._until_ended(entry))
        _log.info("call_made", call_id=handle.call_id)
        return NewCall(handle.call_id, secret, answer)

    async def _discard(self, handle: CallHandle, reason: str, began: float) -> None:
        try:
            await handle.hang_up(reason)
        finally:
            self._admission.release(self._clock() - began)

    async def _until_ended(self, entry: _Entry) -> None:
        await entry.handle.ended.wait()
        call_id, lasted = entry.handle.call_id, self._clock() - entry.since
        del self._entries[call_id]
        self._ended[call_id] = entry.digest
        if len(self._ended) > _ENDED_REMEMBERED:
            self._ended.popitem(last=False)
        self._admission.release(lasted)
        self._metrics.calls_ended.labels(reason=entry.handle.end_reason).inc()
        _log.info("call_ended", call_id=call_id, reason=entry.handle.end_reason, seconds=round(lasted, 1))

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("call_task_failed", error=repr(error))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
