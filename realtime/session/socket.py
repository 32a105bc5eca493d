"""One socket to a model server: connecting, the opening exchange, typed messages either way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from model_server.protocol import (
    MAX_MESSAGE_BYTES,
    Open,
    Opened,
    ProtocolError,
    Queued,
    Refused,
    Reply,
    Request,
    decode_reply,
    encode,
)
from realtime.web.refusals import ModelServerUnavailable, Refusal

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
"""How long the first answer may take: an engine opens a session before it is given."""

PING_S = 5.0
CLOSE_TIMEOUT_S = 2.0


class SessionRefused(Refusal):
    """The model server gives no session; `code` as in `protocol.Refused`."""


class ModelServerGarbage(ModelServerUnavailable):
    """The model server said something that is not of the protocol."""


class SocketLost(Exception):
    """The socket has ended; the text says why."""


class Address(Protocol):
    """Where a model server is. Read anew for every connection: a restarted one is elsewhere.

    `url` is `ws://…` or `wss://…` without a path, and raises `ModelServerUnavailable` while there is no server.
    """

    @property
    def url(self) -> str: ...
    @property
    def token(self) -> str: ...
    @property
    def ssl(self) -> ssl.SSLContext | None: ...


class Wire(Protocol):
    """A WebSocket as the session needs it; all but `close` raise `SocketLost` once it has ended."""

    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> str | bytes: ...
    async def close(self) -> None: ...


Connect = Callable[[Address, str], Awaitable[Wire]]
OnQueued = Callable[[int, float], None]


class WebSocketWire:
    """A `Wire` over a real WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, data: bytes) -> None:
        try:
            await self._connection.send(data)
        except ConnectionClosed as error:
            raise SocketLost(str(error)) from error

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            raise SocketLost(str(error)) from error

    async def close(self) -> None:
        await self._connection.close()


async def connect_websocket(address: Address, session_id: str) -> Wire:
    """Connect to the session's socket. Raises `ModelServerUnavailable`."""
    url = address.url
    try:
        connection = await connect(
            f"{url}/v1/sessions/{session_id}",
            additional_headers={"Authorization": f"Bearer {address.token}"},
            ssl=address.ssl if address.ssl is not None or url.startswith("ws:") else True,
            compression=None,
            proxy=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=CONNECT_TIMEOUT_S,
            ping_interval=PING_S,
            ping_timeout=2 * PING_S,
            close_timeout=CLOSE_TIMEOUT_S,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        hint = ": check its token" if status in (401, 403) else ""
        raise ModelServerUnavailable(f"the model server answered HTTP {status} to the session socket{hint}") from error
    except (OSError, WebSocketException) as error:
        raise ModelServerUnavailable(f"the model server cannot be reached: {error or type(error).__name__}") from error
    return WebSocketWire(connection)


class SessionSocket:
    """An open session's socket: requests out, replies in."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def send(self, request: Request) -> None:
        """Send one request; waits while the server takes nothing. Raises `SocketLost`."""
        await self._wire.send(encode(request))

    async def receive(self) -> Reply:
        """The next reply. Raises `SocketLost`, `ModelServerGarbage`."""
        data = await self._wire.receive()
        if isinstance(data, str):
            raise ModelServerGarbage(f"expected a binary message, got a text of {len(data)} characters")
        try:
            return decode_reply(data)
        except ProtocolError as error:
            raise ModelServerGarbage(f"the model server sent what is no reply: {error}") from error

    async def close(self) -> None:
        """Close the socket; safe to call twice."""
        await self._wire.close()


async def open_session_socket(
    connect: Connect, address: Address, session_id: str, request: Open, on_queued: OnQueued | None = None
) -> tuple[SessionSocket, Opened]:
    """Connect and open a session; with `request.wait`, `on_queued` hears the place in line until it is ours.

    Raises `SessionRefused`, `ModelServerUnavailable`, `ModelServerGarbage`; nothing stays open then.
    """
    socket = SessionSocket(await connect(address, session_id))
    try:
        await socket.send(request)
        return socket, await _answer(socket, on_queued)
    except SocketLost as error:
        await socket.close()
        raise ModelServerUnavailable(f"the model server hung up before it opened the session: {error}") from error
    except BaseException:
        await socket.close()
        raise


async def _answer(socket: SessionSocket, on_queued: OnQueued | None) -> Opened:
    timeout: float | None = ANSWER_TIMEOUT_S
    while True:
        try:
            async with asyncio.timeout(timeout):
                reply = await socket.receive()
        except TimeoutError:
            message = f"the model server has not answered `open` for {ANSWER_TIMEOUT_S:.0f} s"
            raise ModelServerUnavailable(message) from None
        match reply:
            case Opened():
                return reply
            case Refused(code=code, message=message, retry_after=retry_after):
                raise SessionRefused(code, message, retry_after=retry_after)
            case Queued(place=place, wait_s=wait_s) if on_queued is not None:
                timeout = None  # The line may be long; keepalive pings notice a server that dies meanwhile.
                on_queued(place, wait_s)
            case _:
                raise ModelServerGarbage(f"expected opened, refused or queued, got {type(reply).__name__.lower()}")
