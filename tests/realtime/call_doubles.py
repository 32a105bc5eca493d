"""Doubles for what the HTTP side stands on: calls that answer at once, and a factory that can be full or broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime.web.refusals import Refusal, ServerFull


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class CallDouble:
    """A call whose answer is `v=0 answer to <id>`, or `error`; a `gate` holds the answer back until it is set."""

    def __init__(self, call_id: str, error: Exception | None, gate: asyncio.Event | None) -> None:
        self.call_id = call_id
        self.ended = asyncio.Event()
        self.end_reason = ""
        self.offer = ""
        self.voices: dict[str, bytes] = {}
        self._error = error
        self._gate = gate

    async def answer(self, offer_sdp: str) -> str:
        self.offer = offer_sdp
        if self._gate is not None:
            await self._gate.wait()
        if self._error is not None:
            raise self._error
        return f"v=0 answer to {self.call_id}"

    async def hang_up(self, reason: str) -> None:
        if not self.ended.is_set():
            self.end_reason = reason
            self.ended.set()


class FactoryDouble:
    """Opens at most `sessions` at once. `refusal` is raised instead; `answer_error` and `gate` go to the calls."""

    def __init__(self, sessions: int = 100) -> None:
        self.sessions = sessions
        self.refusal: Refusal | None = None
        self.answer_error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.calls: list[CallDouble] = []
        self.queue: list[asyncio.Future[None]] = []

    async def open(self, call_id: str, on_queued: Callable[[int, float], None] | None = None) -> CallDouble:
        if self.refusal is not None:
            raise self.refusal
        if len(self.live) >= self.sessions:
            if on_queued is None:
                raise ServerFull(7.0)
            await self._wait_in_line(on_queued)
        call = CallDouble(call_id, self.answer_error, self.gate)
        self.calls.append(call)
        return call

    async def _wait_in_line(self, on_queued: Callable[[int, float], None]) -> None:
        turn = asyncio.get_running_loop().create_future()
        self.queue.append(turn)
        on_queued(len(self.queue), 20.0 * len(self.queue))
        try:
            await turn
        finally:
            self.queue.remove(turn)

    @property
    def live(self) -> list[CallDouble]:
        return [call for call in self.calls if not call.ended.is_set()]


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)
