"""A call's session at a model server, whichever server that is: survives lost sockets, restarts and dead servers.

`SessionProtocol` decides what is said; this keeps a socket under it. When the socket is lost the session is taken up
again with its resume token, and where that is impossible a new one is opened and the log written into it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

import structlog

from model_server.protocol import (
    Append,
    Capabilities,
    Close,
    GenerateOptions,
    Item,
    Limits,
    Opened,
    Reply,
    SessionConfig,
)
from realtime.session.protocol import SessionProtocol
from realtime.session.reports import BacklogFull, Returned, SessionError, SessionStats
from realtime.session.socket import (
    Address,
    Connect,
    ModelServerGarbage,
    OnQueued,
    SessionRefused,
    SessionSocket,
    SocketLost,
    connect_websocket,
    open_session_socket,
)
from realtime.web.refusals import ModelServerUnavailable

__all__ = [
    "Address",
    "BacklogFull",
    "ModelServerGarbage",
    "ModelServerUnavailable",
    "ModelSession",
    "Recovery",
    "SessionError",
    "SessionListener",
    "SessionRefused",
    "SessionState",
    "SessionStats",
]

Sleep = Callable[[float], Awaitable[None]]
HOPELESS = frozenset({"protocol_mismatch", "invalid_config"})
CLOSE_S = 1.0
"""How long saying good-bye may take."""

log = structlog.get_logger(__name__)


class SessionState(Enum):
    """Whether the model server has the call."""

    CONNECTED = "connected"
    RECOVERING = "recovering"
    LOST = "lost"
    CLOSED = "closed"


class SessionListener(Protocol):
    """What a session tells its call, in the event loop and in order; none of these may block."""

    def on_reply(self, reply: Reply) -> None:
        """An answer, never a stale one. Its numbers are those `prefill` and `append` returned."""

    def on_busy(self, seq: int, item: Item | Append) -> None:
        """The engine was replying and did not take this: send it again later."""

    def on_state(self, state: SessionState, reason: str) -> None:
        """The state changed. After `LOST` the session can only be closed.

        While it recovers the call goes on: what is written waits. A response that a lost server cut short ends by a
        `Done` with reason `failed`; one of which nothing was heard yet is asked for again, and nothing is told of that.
        """


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a lost session is sought: pauses that double, with jitter, until `give_up_s` after the loss.

    A connection that held for `steady_s` ends the count: the next loss starts anew.
    """

    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0
    give_up_s: float = 30.0
    steady_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    sleep: Sleep = asyncio.sleep
    jitter: Callable[[], float] = random.random
    """0..1; pauses are between half and the whole of their length."""

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row (1, 2, ...)."""
        longest = min(self.longest_pause_s, self.first_pause_s * 2.0 ** min(failures - 1, 16))
        return longest * (0.5 + 0.5 * self.jitter())


class ModelSession:
    """One session. Requests return at once; once it is `LOST` or `CLOSED` nothing comes of them."""

    @classmethod
    async def open(
        cls,
        address: Address,
        session_id: str,
        config: SessionConfig,
        listener: SessionListener,
        *,
        on_queued: OnQueued | None = None,
        connect: Connect = connect_websocket,
        recovery: Recovery | None = None,
    ) -> ModelSession:
        """Open a session; the caller owns it and closes it.

        With `on_queued` a full server is waited for: it hears (place, wait_s) at once and at every change, and
        cancelling leaves the line. Raises `SessionRefused`, `ModelServerUnavailable`, `ModelServerGarbage`.
        """
        protocol = SessionProtocol(config)
        request = protocol.open_request(wait=on_queued is not None)
        socket, opened = await open_session_socket(connect, address, session_id, request, on_queued)
        protocol.opened(opened)
        return cls(protocol, socket, address, session_id, listener, connect, recovery or Recovery())

    def __init__(
        self,
        protocol: SessionProtocol,
        socket: SessionSocket,
        address: Address,
        session_id: str,
        listener: SessionListener,
        connect: Connect,
        recovery: Recovery,
    ) -> None:
        """Use `open`."""
        self.state = SessionState.CONNECTED
        self._protocol = protocol
        self._socket: SessionSocket | None = socket
        self._address = address
        self._base_id = self._session_id = session_id
        self._listener = listener
        self._connect = connect
        self._recovery = recovery
        self._wake = asyncio.Event()
        self._lost_at: float | None = None
        self._failures = 0
        self._opened_at = recovery.clock()
        self._task = asyncio.create_task(self._run(socket), name=f"session {session_id}")

    # What the server is ---------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do."""
        return self._opened.capabilities

    @property
    def limits(self) -> Limits:
        """What the session may do."""
        return self._opened.limits

    @property
    def stats(self) -> SessionStats:
        """Counts over the life of the session."""
        return self._protocol.stats

    @property
    def last_seq(self) -> int:
        """The number of the last item written."""
        return self._protocol.last_seq

    @property
    def _opened(self) -> Opened:
        assert self._protocol.opened_as is not None
        return self._protocol.opened_as

    # What the call asks ---------------------------------------------------------------------------------------------

    def prefill(self, item: Item) -> int:
        """Write an item; returns its number. Raises `SessionError` for one too large to send, `BacklogFull`."""
        seq = self._protocol.prefill(item)
        self._changed()
        return seq

    def append(self, role: Literal["user", "assistant", "tool"], text: str = "", engine_tokens: bytes = b"") -> int:
        """Write history; returns its number. Raises `BacklogFull`."""
        seq = self._protocol.append(role, text, engine_tokens)
        self._changed()
        return seq

    def generate(self, response_id: str, options: GenerateOptions | None = None) -> None:
        """Ask for a response to everything written so far. Raises `SessionError`, `BacklogFull`."""
        self._protocol.generate(response_id, options)
        self._changed()

    def played(self, response_id: str, ms: int) -> None:
        """The person has heard `ms` of a response."""
        self._protocol.played(response_id, ms)
        self._changed()

    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None:
        """End a response: its first `keep_ms` stay, or with `discard` nothing. `Cancelled` follows, and nothing else.

        `rollback_to_seq` (implies `discard`) undoes the items after that one, too; others written since the response
        are written again. Raises `SessionError` for an unknown place; a response that is unknown,
        or behind which another is being generated, is told by an `Error`.
        """
        self._protocol.cancel(response_id, keep_ms, discard=discard, rollback_to_seq=rollback_to_seq)
        self._changed()

    def rollback(self, seq: int) -> None:
        """Undo everything after item `seq` (0: the opening); `RolledBack` follows. Raises `SessionError`."""
        self._protocol.rollback(seq)
        self._changed()

    def update(self, config: SessionConfig) -> None:
        """New settings for what is written from now on; `Updated` follows."""
        self._protocol.update(config)
        self._changed()

    async def close(self) -> None:
        """End the session for good; safe to call twice."""
        self.state = SessionState.CLOSED
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._say_goodbye()

    # ---------------------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._wake.set()
        # Answers that need no server are told like all others: later, never out of the call that caused them.
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        for delivery in self._protocol.deliveries():
            if self.state is SessionState.CLOSED:
                return
            if isinstance(delivery, Returned):
                self._listener.on_busy(delivery.seq, delivery.item)
            else:
                self._listener.on_reply(delivery)

    async def _run(self, socket: SessionSocket) -> None:
        """Serve one socket after the other until the session is closed or lost."""
        try:
            while True:
                reason = await self._serve(socket)
                self._protocol.lost()
                self._to_state(SessionState.RECOVERING, reason)
                self._deliver()
                await self._say_goodbye()
                socket = await self._recover()
                self._to_state(SessionState.CONNECTED, "")
                self._deliver()
        except ModelServerUnavailable as error:
            self._to_state(SessionState.LOST, str(error))
        except Exception:
            log.exception("session_failed", session_id=self._session_id)
            self._to_state(SessionState.LOST, "internal error")

    def _to_state(self, state: SessionState, reason: str) -> None:
        log.info("session_state", session_id=self._session_id, state=state.value, reason=reason)
        self.state = state
        self._listener.on_state(state, reason)

    # One socket -----------------------------------------------------------------------------------------------------

    async def _serve(self, socket: SessionSocket) -> str:
        """Carry messages until the socket ends or is of no more use; returns why."""
        reading = asyncio.create_task(self._read(socket), name="session in")
        writing = asyncio.create_task(self._write(socket), name="session out")
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
            # A server that hangs up has said why: what came before the end is still read.
            return await reading
        except (SocketLost, ModelServerGarbage) as error:
            return str(error)
        finally:
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _read(self, socket: SessionSocket) -> str:
        while self._protocol.broken is None:
            self._protocol.receive(await socket.receive())
            self._wake.set()
            self._deliver()
        return self._protocol.broken

    async def _write(self, socket: SessionSocket) -> None:
        """Send until the socket ends, which the reader tells."""
        try:
            while True:
                self._wake.clear()
                while (request := self._protocol.next_request()) is not None:
                    await socket.send(request)
                await self._wake.wait()
        except SocketLost:
            return

    async def _say_goodbye(self) -> None:
        """End the session at the server, if it still listens and there is no way back, and close the socket."""
        socket, self._socket = self._socket, None
        if socket is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                if self.state is SessionState.CLOSED or self._protocol.broken is not None:
                    await socket.send(Close())
        except (SocketLost, TimeoutError):
            log.debug("goodbye_unheard", session_id=self._session_id)
        await socket.close()

    # The next socket ------------------------------------------------------------------------------------------------

    async def _recover(self) -> SessionSocket:
        """The socket that goes on. Raises `ModelServerUnavailable` when none was found in time."""
        now = self._recovery.clock()
        if self._lost_at is None or now - self._opened_at >= self._recovery.steady_s:
            self._lost_at, self._failures = now, 0
        else:
            await self._pause("the connection did not last")
        while True:
            try:
                return await self._reopen()
            except (ModelServerUnavailable, SessionRefused) as error:
                if error.code in HOPELESS:
                    raise ModelServerUnavailable(f"the model server does not take the session back: {error}") from error
                if error.code != "resume_unknown" or not self._protocol.forget_server():
                    await self._pause(str(error))

    async def _reopen(self) -> SessionSocket:
        request = self._protocol.open_request()
        if request.resume is None:
            # The lost session may linger under the old name.
            self._session_id = f"{self._base_id}-{self._protocol.stats.replayed + 1}"
        self._socket, opened = await open_session_socket(self._connect, self._address, self._session_id, request)
        self._protocol.opened(opened)
        self._opened_at = self._recovery.clock()
        return self._socket

    async def _pause(self, why: str) -> None:
        """Wait before the next attempt. Raises `ModelServerUnavailable` when there is no time for one."""
        self._failures += 1
        pause = self._recovery.pause(self._failures)
        assert self._lost_at is not None
        if self._recovery.clock() + pause - self._lost_at > self._recovery.give_up_s:
            raise ModelServerUnavailable(f"no session for {self._recovery.give_up_s:.0f} s: {why}")
        log.info("session_not_recovered", session_id=self._session_id, failures=self._failures, why=why)
        await self._recovery.sleep(pause)
