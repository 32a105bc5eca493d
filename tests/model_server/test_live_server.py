"""The application behind a real uvicorn on loopback, asked by a real WebSocket client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from model_server.app import AppSettings, create_app
from model_server.doubles.echo import EchoEngine
from model_server.engine import Engine
from model_server.protocol import (
    MAX_MESSAGE_BYTES,
    Close,
    Done,
    Open,
    Opened,
    PictureItem,
    Prefill,
    Prefilled,
    Speech,
)
from model_server.serving import listen
from tests.model_server.broken_engines import BrokenEngine
from tests.model_server.samples import JPEG, TURNS
from tests.model_server.wire import TOKEN, Closed, Gateway, words_of


class SocketPeer:
    """A WebSocket over TCP."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, data: bytes | str) -> None:
        with suppress(ConnectionClosed):  # What comes next says how it was closed.
            await self._connection.send(data)

    async def receive(self) -> bytes:
        try:
            data = await self._connection.recv()
        except ConnectionClosed as closed:
            frame = closed.rcvd or closed.sent
            raise Closed(frame.code if frame else 1006, frame.reason if frame else "") from closed
        assert isinstance(data, bytes)
        return data

    async def drop(self) -> None:
        self._connection.transport.abort()
        await self._connection.wait_closed()


class Live:
    """A server on a port of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    @asynccontextmanager
    async def connect(self, session_id: str = "call", token: str = TOKEN) -> AsyncIterator[Gateway]:
        url = f"ws://127.0.0.1:{self.port}/v1/sessions/{session_id}"
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(url, additional_headers=headers, compression=None, max_size=MAX_MESSAGE_BYTES) as connection:
            yield Gateway(SocketPeer(connection))

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(f"http://127.0.0.1:{self.port}{path}")


class QuietServer(uvicorn.Server):
    """uvicorn that leaves the test's signals alone and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@asynccontextmanager
async def live(engine: Engine) -> AsyncIterator[Live]:
    app = create_app(engine, AppSettings(token=TOKEN))
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app, ws="websockets-sansio", ws_max_size=MAX_MESSAGE_BYTES, ws_per_message_deflate=False, log_config=None
    )
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve([listener]))
    await server.listening.wait()
    try:
        yield Live(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def server() -> AsyncIterator[Live]:
    async with live(EchoEngine()) as server:
        yield server


async def test_a_call(server: Live) -> None:
    async with server.connect() as gateway:
        opened = await gateway.open()
        assert opened.capabilities.engine == "echo"
        seq = await gateway.write(1, *TURNS[0])
        reply = await gateway.reply("r1", seq)
        assert "I heard 2.00 seconds" in words_of(reply)
        assert sum(len(message.pcm) for message in reply if isinstance(message, Speech)) == 2 * 24_000 * 2
        await gateway.say(Close())
        assert (await gateway.closed()).code == 1000


async def test_eight_calls_at_once_get_their_own_answers(server: Live) -> None:
    async def call(number: int) -> str:
        async with server.connect(f"call-{number}") as gateway:
            await gateway.open()
            seq = await gateway.write(1, *TURNS[number % 4])
            return words_of(await gateway.reply("r1", seq))

    texts = await asyncio.gather(*(call(number) for number in range(8)))
    assert texts[:4] == texts[4:]
    assert len(set(texts)) == 4


async def test_a_killed_connection_is_resumed(server: Live) -> None:
    async with server.connect() as gateway:
        opened = await gateway.open()
        seq = await gateway.write(1, *TURNS[0])
        await gateway.peer.drop()
    async with server.connect() as gateway:
        answer = await gateway.open(resume=opened.resume_token)
        assert (answer.resumed, answer.last_seq) == (True, seq)


async def test_the_largest_message_passes_and_a_larger_one_closes_the_socket(server: Live) -> None:
    async with server.connect() as gateway:
        await gateway.open()
        picture = JPEG[:-2] + bytes(2 * 1024 * 1024 - len(JPEG)) + JPEG[-2:]
        await gateway.ask(Prefill(seq=1, item=PictureItem(jpeg=picture)), Prefilled)
        await gateway.peer.send(bytes(5 * 1024 * 1024))
        assert (await gateway.closed()).code == 1009


@pytest.mark.parametrize(("session_id", "token", "status"), [("call", "wrong", 403), ("a.b", TOKEN, 400)])
async def test_a_refused_handshake_says_why(server: Live, session_id: str, token: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with server.connect(session_id, token):
            raise AssertionError("the handshake was accepted")
    assert refused.value.response.status_code == status
    assert len(refused.value.response.body or b"") > 20


async def test_operators_get_answers(server: Live) -> None:
    assert (await server.get("/healthz")).text == "alive\n"
    assert (await server.get("/readyz")).json() == {"ready": True, "waits_for": []}
    metrics = await server.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "model_server_sessions_open 0.0" in metrics.text
    assert (await server.get("/v1/sessions/call")).status_code == 404


async def test_readiness_waits_for_the_engine() -> None:
    engine = BrokenEngine("start hangs")
    async with live(engine) as server:
        answer = await server.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "waits_for": ["the engine echo to start"]}
        assert (await server.get("/healthz")).status_code == 200
        async with server.connect() as gateway:
            await gateway.say(Open(wait=True))
            await gateway.hear()
            engine.release.set()
            await gateway.until(Opened)
        assert (await server.get("/readyz")).status_code == 200


async def test_done_comes_over_the_wire_after_a_reply_longer_than_the_buffers(server: Live) -> None:
    async with server.connect() as gateway:
        await gateway.open()
        await gateway.generate("r1", 0, say="word " * 200)
        await gateway.hear_out("r1")
        assert isinstance(gateway.heard[-1], Done)
