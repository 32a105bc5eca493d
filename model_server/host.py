"""The shell around the session table: sockets and runners by name, one timer, the engine's start and end."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from itertools import count

import structlog
from msgspec import structs

from model_server.house import House
from model_server.outbox import Outbox
from model_server.protocol import (
    PROTOCOL_VERSION,
    Close,
    Draining,
    Error,
    Open,
    Played,
    Queued,
    Refused,
    Request,
    SessionConfig,
)
from model_server.runner import Attachment, Ending, SessionRunner
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

log = structlog.get_logger(__name__)


class _Socket:
    """One WebSocket: the session it names, where its answers wait, what it asked to open, and whose it is."""

    __slots__ = ("opening", "outbox", "runner", "session_id")

    def __init__(self, session_id: str, outbox: Outbox) -> None:
        self.session_id = session_id
        self.outbox = outbox
        self.opening: Open | None = None
        self.runner: SessionRunner | None = None


class SessionHost:
    """All sessions of one server. Started by `start`, ended by `aclose`."""

    def __init__(self, house: House, limits: TableLimits) -> None:
        self.house = house
        self.table = SessionTable(limits, lambda: secrets.token_urlsafe(24))
        self._most_sessions = house.limits.max_sessions
        self.ready = False
        self.draining = False
        self._numbers = count(1)
        self._sockets: dict[int, _Socket] = {}
        self._runners: dict[str, SessionRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.starting: asyncio.Task[None] | None = None
        self.watching: asyncio.Task[str] | None = None
        """Runs while the engine works; its result is why it does not any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()
        self._emptied.set()

    # The server's life ----------------------------------------------------------------------------------------------

    def start(self) -> asyncio.Task[None]:
        """Start the engine beside the sockets; the task ends when it is ready, or raises what went wrong."""
        self.starting = asyncio.create_task(self._start_engine(), name="engine start")
        return self.starting

    def drain(self, deadline_s: float) -> None:
        """Take no more sessions, tell the living ones, end them after `deadline_s`."""
        self.draining = True
        self._handle(Drain(deadline_s))
        self.tick()

    async def emptied(self) -> None:
        """Return when no session holds anything."""
        await self._emptied.wait()

    async def aclose(self) -> None:
        """End all sessions, then the engine."""
        self.drain(0.0)
        await self.emptied()
        if self._timer is not None:
            self._timer.cancel()
        for task in (self.starting, self.watching):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self.house.engine.aclose()

    def tick(self) -> None:
        """Look at the clock; called by the host's own timer."""
        self._handle(Tick())

    # From the sockets -----------------------------------------------------------------------------------------------

    def connect(self, session_id: str, outbox: Outbox) -> int:
        """A new socket for this session; its number."""
        number = next(self._numbers)
        self._sockets[number] = _Socket(session_id, outbox)
        return number

    def disconnect(self, number: int) -> None:
        """The socket is gone."""
        log.info("socket_gone", session_id=self._sockets[number].session_id)
        self._sockets[number].outbox.close()
        self._handle(SocketLost(number))
        del self._sockets[number]

    async def received(self, number: int, request: Request) -> None:
        """A message came; waits while the session has too many of them."""
        socket = self._sockets[number]
        if socket.outbox.closed:
            return
        self._handle(Heard(number))
        match request:
            case Open() if socket.opening is None:
                self._open(number, socket, request)
            case Open():
                self.refuse(number, "already_open", "a socket is opened once: use another one")
            case Close() if socket.runner is None:
                socket.outbox.close(1000, "closed")
            case _ if socket.runner is None:
                self.refuse(number, "not_open", "the first message is `open`, the next may follow when it is answered")
            case Played():
                socket.runner.played(request)
            case _:
                socket.runner.submit(request)
                await socket.runner.room()

    def refuse(self, number: int, code: str, message: str) -> None:
        """Answer a message that no session takes with an `error`."""
        self._sockets[number].outbox.send(Error(code=code, message=message))
        self.house.metrics.errors.labels(code).inc()

    def _open(self, number: int, socket: _Socket, request: Open) -> None:
        if request.protocol != PROTOCOL_VERSION:
            message = f"this server speaks protocol {PROTOCOL_VERSION}, got {request.protocol}: update the older side"
            self._apply(Refuse(number, "protocol_mismatch", message))
            return
        socket.opening = request
        self._note_capacity()
        self._handle(OpenAsked(number, socket.session_id, request.resume, request.wait))

    # The table's effects --------------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        for effect in self.table.handle(event, self.house.clock()):
            self._apply(effect)
        metrics = self.house.metrics
        metrics.sessions_open.set(self.table.open_count)
        metrics.sessions_detached.set(self.table.detached_count)
        metrics.sessions_waiting.set(self.table.waiting_count)
        self._set_timer()

    def _apply(self, effect: Effect) -> None:
        match effect:
            case Start():
                self._start_session(effect)
            case Attach():
                self._attach(effect.socket, effect.session_id, effect.token)
            case Drop():
                self._sockets[effect.socket].outbox.close(1000, "another socket took over")
            case Refuse():
                self._refuse_open(effect)
            case TellPlace():
                self._sockets[effect.socket].outbox.send(Queued(place=effect.place, wait_s=effect.wait_s))
            case TellDraining():
                self._sockets[effect.socket].outbox.send(Draining(deadline_s=effect.deadline_s))
            case End():
                self._runners[effect.session_id].end(Ending(effect.reason, effect.message))
            case Abandon():
                log.error("session_abandoned", session_id=effect.session_id)
                self._tasks[effect.session_id].cancel()

    def _start_session(self, effect: Start) -> None:
        opening = self._sockets[effect.socket].opening
        config = opening.config if opening is not None else SessionConfig()
        runner = SessionRunner(self.house, effect.session_id, config, self._session_over)
        self._runners[effect.session_id] = runner
        self._emptied.clear()
        self._tasks[effect.session_id] = asyncio.create_task(
            self._live(effect.session_id, runner), name=f"session {effect.session_id}"
        )
        log.info("session_started", session_id=effect.session_id)
        self._attach(effect.socket, effect.session_id, effect.token)

    def _attach(self, number: int, session_id: str, token: str) -> None:
        socket = self._sockets[number]
        socket.runner = self._runners[session_id]
        log.info("session_attached", session_id=session_id)
        heard = socket.opening.heard if socket.opening is not None else None
        socket.runner.attach(Attachment(socket.outbox, token, heard))

    def _refuse_open(self, effect: Refuse) -> None:
        socket = self._sockets[effect.socket]
        log.info("open_refused", session_id=socket.session_id, code=effect.code)
        outbox = socket.outbox
        outbox.send(Refused(code=effect.code, message=effect.message, retry_after=effect.retry_after))
        outbox.close(1000, "refused")
        self.house.metrics.refusals.labels(effect.code).inc()

    async def _live(self, session_id: str, runner: SessionRunner) -> None:
        try:
            await runner.run()
        except Exception as error:
            log.error("session_not_freed", session_id=session_id, error=type(error).__name__)
        finally:
            del self._runners[session_id], self._tasks[session_id]
            self._handle(SessionFreed(session_id))
            if not self._tasks:
                self._emptied.set()

    def _session_over(self, session_id: str) -> None:
        self._handle(SessionOver(session_id))

    async def _start_engine(self) -> None:
        try:
            await self.house.engine.start()
        except Exception as error:
            log.error("engine_start_failed", error=type(error).__name__)
            raise
        self.ready = True
        self.watching = asyncio.create_task(self._watch_engine(), name="engine watch")
        log.info("engine_ready", engine=self.house.engine.capabilities.engine)
        self._note_capacity()

    async def _watch_engine(self) -> str:
        """Wait until the engine breaks; then nobody is let in, and every session ends with the reason."""
        reason = await self.house.engine.broken()
        log.error("engine_broken", reason=reason)
        self.ready = False
        ending = Ending("engine_failed", f"the engine failed: {reason}", error="engine_failed", code=1011)
        self.drain(0.0)
        for runner in list(self._runners.values()):
            runner.end(ending)  # Before what draining would have said.
        return reason

    def _note_capacity(self) -> None:
        """An engine knows what fits when it has loaded, and better once it has measured."""
        if not self.ready:
            return
        engine, limits = self.house.engine, self.house.limits
        places = min(self._most_sessions, engine.max_sessions)
        self.house = replace(self.house, limits=structs.replace(limits, max_sessions=places, context=engine.context))
        self._handle(EngineReady(places))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.table.deadline()
        if deadline is None:
            self._timer = None
            return
        delay = max(0.0, deadline - self.house.clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self.tick)
