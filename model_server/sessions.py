"""The table of sessions: who is in, who waits in line, who lost their socket, who has to go.

Sans-I/O: `SessionTable.handle(event, now)` returns what is to be done, `deadline()` says when a `Tick` is due next.
Sockets are known by number. Times are in seconds of any monotonic clock.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

# --------------------------------------------------------------------------------------------------------------------
# What happens


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The engine can take sessions: at most `max_sessions` at once (None: as many as the limits say)."""

    max_sessions: int | None = None


@dataclass(frozen=True, slots=True)
class OpenAsked:
    """Socket `socket` wants the session; `resume` is the token it brings, `wait` whether it would stand in line."""

    socket: int
    session_id: str
    resume: str | None = None
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """A message came from the socket of a session."""

    socket: int


@dataclass(frozen=True, slots=True)
class SocketLost:
    """The socket is gone."""

    socket: int


@dataclass(frozen=True, slots=True)
class SessionOver:
    """The session ended by itself: it was closed, refused by the engine, or broke."""

    session_id: str


@dataclass(frozen=True, slots=True)
class SessionFreed:
    """The engine holds nothing of the session any more."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Drain:
    """The server goes away in `deadline_s`."""

    deadline_s: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went on."""


Event = EngineReady | OpenAsked | Heard | SocketLost | SessionOver | SessionFreed | Drain | Tick

# --------------------------------------------------------------------------------------------------------------------
# What is to be done


@dataclass(frozen=True, slots=True)
class Start:
    """Open the session in the engine and answer `opened` with this token."""

    socket: int
    session_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Attach:
    """Give the living session this socket and answer `opened` with this token."""

    socket: int
    session_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Close a socket that another one has replaced."""

    socket: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer `refused` and close the socket."""

    socket: int
    code: str
    message: str
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class TellPlace:
    """Answer `queued`."""

    socket: int
    place: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class TellDraining:
    """Say `draining`."""

    socket: int
    deadline_s: float


@dataclass(frozen=True, slots=True)
class End:
    """End the session in order and free it. `reason` is one word."""

    session_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """The session did not end in time: stop it by force."""

    session_id: str


Effect = Start | Attach | Drop | Refuse | TellPlace | TellDraining | End | Abandon

# --------------------------------------------------------------------------------------------------------------------


class State(Enum):
    """Of one session; it holds its place in the engine until it is freed."""

    ATTACHED = "attached"
    DETACHED = "detached"
    ENDING = "ending"
    ABANDONED = "abandoned"


@dataclass(slots=True)
class _Session:
    session_id: str
    socket: int | None
    token: str
    started_at: float
    since: float
    """When the state began, or the last message was heard."""
    state: State = State.ATTACHED
    replaced_token: str | None = None
    """The token before: good until the first message proves that the new one arrived."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    socket: int
    session_id: str


@dataclass(frozen=True, slots=True)
class TableLimits:
    """How many sessions and waiting sockets; seconds of idleness, without a socket, and for an orderly end."""

    max_sessions: int
    max_waiting: int = 32
    idle_s: float = 300.0
    resume_s: float = 30.0
    end_s: float = 5.0


FIRST_GUESS_S = 120.0
"""How long a session is thought to last before any has ended."""


class SessionTable:
    """Who may hold a session. `new_token` makes the secrets."""

    def __init__(self, limits: TableLimits, new_token: Callable[[], str]) -> None:
        self.limits = limits
        self._new_token = new_token
        self._sessions: dict[str, _Session] = {}
        self._line: list[_Waiting] = []
        self._ready = False
        self._slots = limits.max_sessions
        self._drain_at: float | None = None
        self._usual_s = FIRST_GUESS_S

    @property
    def open_count(self) -> int:
        """Sessions that hold a place."""
        return len(self._sessions)

    @property
    def detached_count(self) -> int:
        """Sessions without a socket."""
        return sum(session.state is State.DETACHED for session in self._sessions.values())

    @property
    def waiting_count(self) -> int:
        """Sockets in line."""
        return len(self._line)

    def deadline(self) -> float | None:
        """When the next `Tick` is due."""
        times = [self._due(session) for session in self._sessions.values()]
        if self._drain_at is not None and any(s.state is State.ATTACHED for s in self._sessions.values()):
            times.append(self._drain_at)
        return min((time for time in times if time < math.inf), default=None)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; what it returns is to be done in order."""
        match event:
            case EngineReady():
                self._ready = True
                self._slots = min(self.limits.max_sessions, event.max_sessions or self.limits.max_sessions)
                return self._admit_from_line(now)
            case OpenAsked():
                return self._open(event, now)
            case Heard():
                return self._heard(event.socket, now)
            case SocketLost():
                return self._lost(event.socket, now)
            case SessionOver():
                self._begin_end(self._sessions.get(event.session_id), now)
                return []
            case SessionFreed():
                return self._freed(event.session_id, now)
            case Drain():
                return self._drain(event.deadline_s, now)
            case Tick():
                return self._tick(now)

    # Opening --------------------------------------------------------------------------------------------------------

    def _open(self, event: OpenAsked, now: float) -> list[Effect]:
        if self._drain_at is not None:
            return [Refuse(event.socket, "draining", "this server is going away: open the session elsewhere")]
        if event.resume is not None:
            return self._resume(event, event.resume, now)
        if event.session_id in self._sessions or any(event.session_id == waiting.session_id for waiting in self._line):
            return [self._in_use(event.socket)]
        if self._free_places() > 0:
            return [self._start(event.socket, event.session_id, now)]
        if event.wait and len(self._line) < self.limits.max_waiting:
            self._line.append(_Waiting(event.socket, event.session_id))
            return [self._place(len(self._line))]
        return [self._full(event.socket)]

    def _resume(self, event: OpenAsked, token: str, now: float) -> list[Effect]:
        session = self._sessions.get(event.session_id)
        if session is None or session.state not in (State.ATTACHED, State.DETACHED):
            return [_unknown_token(event.socket)]
        if not _same(token, session.token) and not _same(token, session.replaced_token):
            attached = session.state is State.ATTACHED
            return [self._in_use(event.socket) if attached else _unknown_token(event.socket)]
        effects: list[Effect] = [] if session.socket is None else [Drop(session.socket)]
        session.socket, session.state, session.since = event.socket, State.ATTACHED, now
        session.token, session.replaced_token = self._new_token(), token
        return [*effects, Attach(event.socket, session.session_id, session.token)]

    def _start(self, socket: int, session_id: str, now: float) -> Start:
        session = _Session(session_id, socket, self._new_token(), started_at=now, since=now)
        self._sessions[session_id] = session
        return Start(socket, session_id, session.token)

    def _full(self, socket: int) -> Refuse:
        if not self._ready:
            return Refuse(socket, "not_ready", "the engine is not ready yet: try again, or wait in line", 1.0)
        wait_s = self._wait_s(len(self._line) + 1)
        return Refuse(socket, "server_full", f"all {self._slots} sessions are taken: try later", wait_s)

    def _in_use(self, socket: int) -> Refuse:
        message = "this session id is in use: resume with the newest token, or open another id"
        return Refuse(socket, "session_in_use", message, self.limits.resume_s)

    # The waiting line -----------------------------------------------------------------------------------------------

    def _free_places(self) -> int:
        return self._slots - len(self._sessions) if self._ready else 0

    def _admit_from_line(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        while self._line and self._free_places() > 0:
            first = self._line.pop(0)
            effects.append(self._start(first.socket, first.session_id, now))
        return effects + self._places() if effects else []

    def _places(self) -> list[Effect]:
        return [self._place(number) for number in range(1, len(self._line) + 1)]

    def _place(self, number: int) -> TellPlace:
        return TellPlace(self._line[number - 1].socket, number, self._wait_s(number))

    def _wait_s(self, place: int) -> float:
        return round(self._usual_s * place / self._slots, 1)

    # Life and end ---------------------------------------------------------------------------------------------------

    def _heard(self, socket: int, now: float) -> list[Effect]:
        session = self._by_socket(socket)
        if session is not None:
            session.since, session.replaced_token = now, None
        return []

    def _lost(self, socket: int, now: float) -> list[Effect]:
        still = [waiting for waiting in self._line if waiting.socket != socket]
        if len(still) < len(self._line):
            self._line = still
            return self._places()
        session = self._by_socket(socket)
        if session is None:
            return []
        if self._drain_at is not None:
            return [self._end(session, "draining", "the server is going away", now)]
        session.socket, session.state, session.since = None, State.DETACHED, now
        return []

    def _freed(self, session_id: str, now: float) -> list[Effect]:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self._usual_s += 0.2 * (now - session.started_at - self._usual_s)
        return self._admit_from_line(now)

    def _drain(self, deadline_s: float, now: float) -> list[Effect]:
        waiting, self._line = self._line, []
        self._drain_at = now + deadline_s
        effects: list[Effect] = [
            Refuse(each.socket, "draining", "this server is going away: open the session elsewhere") for each in waiting
        ]
        for session in self._sessions.values():
            if session.socket is not None:
                effects.append(TellDraining(session.socket, deadline_s))
            elif session.state is State.DETACHED:
                effects.append(self._end(session, "draining", "the server is going away", now))
        return effects

    def _tick(self, now: float) -> list[Effect]:
        return [
            self._expire(session, now)
            for session in self._sessions.values()
            if now >= self._due(session) or (session.state is State.ATTACHED and self._drained(now))
        ]

    def _expire(self, session: _Session, now: float) -> Effect:
        if session.state is State.ENDING:
            session.state = State.ABANDONED
            return Abandon(session.session_id)
        if self._drained(now):
            return self._end(session, "draining", "the server is going away", now)
        if session.state is State.DETACHED:
            return self._end(session, "lost", f"no socket came back for {self.limits.resume_s:g} s", now)
        return self._end(session, "idle", f"no message for {self.limits.idle_s:g} s", now)

    def _due(self, session: _Session) -> float:
        match session.state:
            case State.ATTACHED:
                return session.since + self.limits.idle_s
            case State.DETACHED:
                return session.since + self.limits.resume_s
            case State.ENDING:
                return session.since + self.limits.end_s
            case State.ABANDONED:
                return math.inf

    def _drained(self, now: float) -> bool:
        return self._drain_at is not None and now >= self._drain_at

    def _end(self, session: _Session, reason: str, message: str, now: float) -> End:
        self._begin_end(session, now)
        return End(session.session_id, reason, message)

    def _begin_end(self, session: _Session | None, now: float) -> None:
        if session is not None and session.state in (State.ATTACHED, State.DETACHED):
            session.socket, session.state, session.since = None, State.ENDING, now

    def _by_socket(self, socket: int) -> _Session | None:
        return next((session for session in self._sessions.values() if session.socket == socket), None)


def _same(given: str, expected: str | None) -> bool:
    return expected is not None and hmac.compare_digest(given.encode(), expected.encode())


def _unknown_token(socket: int) -> Refuse:
    message = "no session lives under this id and token: open it again and replay what it held"
    return Refuse(socket, "resume_unknown", message)
