"""Sessions without sockets: a scripted server behind wires in memory, and a call that remembers what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from model_server.protocol import (
    Append,
    Close,
    Item,
    Open,
    Prefilled,
    Reply,
    Request,
    SessionConfig,
    decode_request,
    encode,
)
from realtime.session.model_session import (
    ModelServerUnavailable,
    ModelSession,
    Recovery,
    SessionState,
)
from realtime.session.socket import Address, SocketLost
from tests.realtime.scripted_server import ScriptedServer, ScriptedSession

LOST = object()


@dataclass
class MemoryAddress:
    """Where nothing listens: the wires are in memory."""

    url: str = "ws://memory"
    token: str = "secret"
    ssl: None = None


class MemoryWire:
    """One socket of the scripted server, which answers at once."""

    def __init__(self, house: House, session_id: str) -> None:
        self.closed = False
        self.requests: list[Request] = []
        self.then: str | None = None
        """What follows the answer to `open`."""
        self.stuck = asyncio.Event()
        self.stuck.set()
        self._house = house
        self._session_id = session_id
        self.session: ScriptedSession | None = None
        self.inbox: asyncio.Queue[bytes | str | object] = asyncio.Queue()

    async def send(self, data: bytes) -> None:
        await self.stuck.wait()
        if self.closed:
            raise SocketLost("gone")
        request = decode_request(data)
        self.requests.append(request)
        if isinstance(request, Close):
            return
        for reply in self._answer(request):
            self.say(reply)
        if isinstance(request, Open) and self.then is not None:
            self.say(self.then)

    async def receive(self) -> str | bytes:
        message = await self.inbox.get()
        if message is LOST:
            self.closed = True
            raise SocketLost("gone")
        assert isinstance(message, str | bytes)
        return message

    async def close(self) -> None:
        self.closed = True

    def say(self, reply: Reply | bytes | str) -> None:
        self.inbox.put_nowait(reply if isinstance(reply, bytes | str) else encode(reply))

    def lose(self) -> None:
        self.inbox.put_nowait(LOST)

    def _answer(self, request: Request) -> list[Reply]:
        if not isinstance(request, Open):
            assert self.session is not None
            return self.session.handle(request)
        greeting = self._house.greetings.pop(0) if self._house.greetings else None
        if greeting is not None:
            return greeting
        self.session, replies = self._house.server.open(self._session_id, request)
        return replies


@dataclass
class House:
    """Servers, wires and time, all in the test's hand. `failures`: connections that fail before one succeeds."""

    server: ScriptedServer = field(default_factory=ScriptedServer)
    wires: list[MemoryWire] = field(default_factory=list)
    failures: int = 0
    greetings: list[list[Reply] | None] = field(default_factory=list)
    """What the next sockets answer to `open`; None: what the scripted server says."""
    names: list[str] = field(default_factory=list)
    now: float = 1_000.0
    pauses: list[float] = field(default_factory=list)

    async def connect(self, address: Address, session_id: str) -> MemoryWire:
        self.names.append(session_id)
        if self.failures:
            self.failures -= 1
            raise ModelServerUnavailable("nobody is there")
        wire = MemoryWire(self, session_id)
        self.wires.append(wire)
        return wire

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    @property
    def wire(self) -> MemoryWire:
        return self.wires[-1]

    @property
    def recovery(self) -> Recovery:
        return Recovery(clock=lambda: self.now, sleep=self.sleep, jitter=lambda: 1.0)


class Ear:
    """The call: remembers what it was told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.busy: list[tuple[int, Item | Append]] = []
        self.states: list[tuple[SessionState, str]] = []
        self._changed = asyncio.Event()

    def on_reply(self, reply: Reply) -> None:
        self.replies.append(reply)
        self._changed.set()

    def on_busy(self, seq: int, item: Item | Append) -> None:
        self.busy.append((seq, item))
        self._changed.set()

    def on_state(self, state: SessionState, reason: str) -> None:
        self.states.append((state, reason))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_written(self, seq: int) -> None:
        await self.until(lambda: seq in self.written)

    async def until_state(self, state: SessionState) -> None:
        await self.until(lambda: bool(self.states) and self.states[-1][0] is state)

    @property
    def written(self) -> list[int]:
        return [reply.seq for reply in self.replies if isinstance(reply, Prefilled)]


@asynccontextmanager
async def opened(house: House) -> AsyncIterator[tuple[ModelSession, Ear]]:
    ear = Ear()
    session = await ModelSession.open(
        MemoryAddress(), "call", SessionConfig(), ear, connect=house.connect, recovery=house.recovery
    )
    try:
        yield session, ear
    finally:
        await session.close()
