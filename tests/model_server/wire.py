"""The session socket in tests: the application called in process, or a server on loopback, by the same `Gateway`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from starlette.applications import Starlette

from model_server.app import AppSettings, create_app
from model_server.engine import Engine
from model_server.host import SessionHost
from model_server.protocol import (
    Cancelled,
    Done,
    Generate,
    GenerateOptions,
    Item,
    Open,
    Opened,
    Played,
    Prefill,
    Prefilled,
    Reply,
    Request,
    SessionConfig,
    Speech,
    Started,
    Text,
    Update,
    Updated,
    decode_reply,
    encode,
)

TOKEN = "token-of-the-test"
GUARD_S = 30.0
"""An answer that takes longer never comes."""

Answer = TypeVar("Answer", bound=Reply)


class Closed(Exception):
    """The socket was closed by the server."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Peer(Protocol):
    """The client's end of one WebSocket."""

    async def send(self, data: bytes | str) -> None: ...

    async def receive(self) -> bytes: ...

    async def drop(self) -> None: ...


class Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class AppPeer:
    """A WebSocket of an ASGI application, without a network. `listening`: cleared, the peer takes nothing."""

    def __init__(self, app: Starlette, path: str, token: str | None = TOKEN) -> None:
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        self.listening = asyncio.Event()
        self.listening.set()
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }
        self._in.put_nowait({"type": "websocket.connect"})
        self.serving = asyncio.create_task(self._serve(app, scope))

    async def _serve(self, app: Starlette, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._in.get, self._take)
        finally:
            self._out.put_nowait({"type": "gone"})

    async def _take(self, message: Any) -> None:
        await self.listening.wait()
        self._out.put_nowait(message)
        if message["type"] == "websocket.close":
            self._in.put_nowait({"type": "websocket.disconnect", "code": message["code"]})

    async def accepted(self) -> int:
        """101, or the status of the refusal."""
        message = await self._out.get()
        return 101 if message["type"] == "websocket.accept" else int(message["status"])

    async def send(self, data: bytes | str) -> None:
        kind = "text" if isinstance(data, str) else "bytes"
        self._in.put_nowait({"type": "websocket.receive", kind: data})

    async def receive(self) -> bytes:
        message = await self._out.get()
        if message["type"] != "websocket.send":
            raise Closed(message.get("code", 1006), message.get("reason", "gone"))
        return bytes(message["bytes"])

    async def drop(self) -> None:
        """The network is gone."""
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await self.serving


class Gateway:
    """What a gateway says and hears on one socket."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.heard: list[Reply] = []

    async def say(self, request: Request) -> None:
        await self.peer.send(encode(request))

    async def hear(self) -> Reply:
        """The next message. Raises `Closed`."""
        async with asyncio.timeout(GUARD_S):
            message = decode_reply(await self.peer.receive())
        self.heard.append(message)
        return message

    async def until(self, kind: type[Answer], where: Callable[[Answer], bool] = lambda _: True) -> Answer:
        """The next message of this type, others are only remembered."""
        while True:
            message = await self.hear()
            if isinstance(message, kind) and where(message):
                return message

    async def ask(self, request: Request, kind: type[Answer]) -> Answer:
        """Say it, and expect the answer of this type next."""
        await self.say(request)
        message = await self.hear()
        assert isinstance(message, kind), message
        return message

    async def open(self, **fields: Any) -> Opened:
        return await self.ask(Open(**fields), Opened)

    async def write(self, first_seq: int, *items: Item) -> int:
        """Prefill the items and return the last sequence number; other messages may come between."""
        for seq, item in enumerate(items, first_seq):
            await self.say(Prefill(seq=seq, item=item))
            await self.until(Prefilled, lambda answer, seq=seq: answer.seq == seq)  # type: ignore[misc]
        return first_seq + len(items) - 1

    async def generate(self, response_id: str, after_seq: int, **options: Any) -> None:
        await self.say(Generate(response_id=response_id, after_seq=after_seq, options=GenerateOptions(**options)))
        await self.until(Started)

    async def reply(self, response_id: str, after_seq: int, **options: Any) -> list[Reply]:
        """All messages of a whole reply, as it is heard at once."""
        start = len(self.heard)
        await self.generate(response_id, after_seq, **options)
        await self.hear_out(response_id)
        return self.heard[start:]

    async def hear_out(self, response_id: str) -> Done:
        """Listen to the end, with credit for everything that has come and comes."""
        await self.say(Played(response_id=response_id, ms=1_000_000))
        while True:
            message = await self.hear()
            if isinstance(message, Speech):
                await self.say(Played(response_id=response_id, ms=end_ms(message)))
            if isinstance(message, Done) and message.response_id == response_id:
                return message

    async def barrier(self, config: SessionConfig, times: int = 20) -> list[Reply]:
        """What came until the server has answered `times` requests, one after the other."""
        start = len(self.heard)
        for _ in range(times):
            await self.say(Update(config=config))
            await self.until(Updated)
        return [message for message in self.heard[start:] if not isinstance(message, Updated)]

    async def closed(self) -> Closed:
        """Listen until the server closes the socket."""
        try:
            while True:
                await self.hear()
        except Closed as closed:
            return closed


def end_ms(speech: Speech) -> int:
    """Where this piece of speech ends in its response."""
    return (speech.position + len(speech.pcm) // 2) // 24


def words_of(messages: list[Reply]) -> str:
    return "".join(message.text for message in messages if isinstance(message, Text))


def of_response(messages: list[Reply], response_id: str) -> list[Reply]:
    """The messages that belong to this response."""
    return [message for message in messages if getattr(message, "response_id", None) == response_id]


class Server:
    """The application in process, started and ready. `clock` is the test's."""

    def __init__(self, app: Starlette, clock: Clock) -> None:
        self.app = app
        self.clock = clock
        self.host: SessionHost = app.state.host

    async def connect(self, session_id: str = "call", token: str | None = TOKEN) -> Gateway:
        peer = AppPeer(self.app, f"/v1/sessions/{session_id}", token)
        assert await peer.accepted() == 101
        return Gateway(peer)

    async def open(self, session_id: str = "call", **fields: Any) -> Gateway:
        gateway = await self.connect(session_id)
        await gateway.open(**fields)
        return gateway

    def pass_time(self, seconds: float) -> None:
        """Let the server's clock move on."""
        self.clock.now += seconds
        self.host.tick()


@asynccontextmanager
async def serve(engine: Engine, *, wait_ready: bool = True, **settings: Any) -> AsyncIterator[Server]:
    """The application with this engine; everything is freed at the end."""
    clock = Clock()
    app = create_app(engine, AppSettings(token=TOKEN, **settings), clock)
    async with app.router.lifespan_context(app):
        server = Server(app, clock)
        if wait_ready:
            assert server.host.starting is not None
            await server.host.starting
        yield server


async def cancelled(gateway: Gateway) -> Cancelled:
    return await gateway.until(Cancelled)
