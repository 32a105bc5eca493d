"""The model server as the gateway sees it: where it is, whether it takes sessions, what its engine can do.

`RemoteModelServer` is one that somebody else runs; `realtime.service.child` runs one of our own.
"""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Awaitable, Callable
from typing import Protocol

import httpx
import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from model_server.protocol import (
    MAX_MESSAGE_BYTES,
    Capabilities,
    Close,
    Open,
    Opened,
    ProtocolError,
    decode_reply,
    encode,
)
from realtime.service.metrics import Metrics
from realtime.web.refusals import ModelServerUnavailable

PROBE_TIMEOUT_S = 5.0
PROBE_UNREADY_S = 0.5
PROBE_READY_S = 5.0

Sleep = Callable[[float], Awaitable[None]]
log = structlog.get_logger(__name__)


class ModelServer(Protocol):
    """What opening a session needs. `url` (without a path to a session) and `capabilities` hold once it is ready."""

    @property
    def url(self) -> str: ...
    @property
    def token(self) -> str: ...
    @property
    def ssl(self) -> ssl.SSLContext | None: ...
    @property
    def readiness(self) -> Readiness: ...

    async def wait_ready(self, timeout: float | None) -> None:
        """Return as soon as sessions can be opened. Raises `ModelServerUnavailable` after `timeout` s (None: never)."""
        ...

    async def run(self) -> None:
        """Keep the state current (and the child alive) until cancelled."""
        ...


class Readiness:
    """Whether sessions can be opened, and if not, what that waits for."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ready = asyncio.Event()
        self.waiting_for = "the model server to start"
        self.capabilities: Capabilities | None = None

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    def set_ready(self, capabilities: Capabilities | None) -> None:
        self.capabilities = capabilities or self.capabilities
        self._ready.set()
        self._metrics.model_server_ready.set(1)

    def set_waiting(self, waiting_for: str) -> None:
        if self.is_ready:
            log.warning("model_server_lost", waiting_for=waiting_for)
        self.waiting_for = waiting_for
        self.stop()

    def stop(self) -> None:
        """No more sessions, and nobody needs to be told."""
        self._ready.clear()
        self._metrics.model_server_ready.set(0)

    async def wait(self, timeout: float | None) -> None:
        """Raises `ModelServerUnavailable` after `timeout` seconds (None: never)."""
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            raise ModelServerUnavailable(f"no answer yet: waiting for {self.waiting_for}") from None


class RemoteModelServer:
    """One elsewhere, at `url` (`wss://…`): asked every few seconds whether it takes sessions."""

    def __init__(
        self, url: str, token: str, context: ssl.SSLContext | None, metrics: Metrics, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.url = url
        self.token = token
        self.ssl = context
        self.readiness = Readiness(metrics)
        self._sleep = sleep

    async def wait_ready(self, timeout: float | None) -> None:
        await self.readiness.wait(timeout)

    async def run(self) -> None:
        async with probe_client(self.ssl) as client:
            while True:
                await self._probe(client)
                await self._sleep(PROBE_READY_S if self.readiness.is_ready else PROBE_UNREADY_S)

    async def _probe(self, client: httpx.AsyncClient) -> None:
        waiting_for = await ask_readiness(client, self.url)
        if waiting_for is not None:
            self.readiness.set_waiting(waiting_for)
        elif not self.readiness.is_ready:
            self.readiness.set_ready(await ask_capabilities(self.url, self.token, self.ssl))
            log.info("model_server_ready", url=self.url)


def probe_client(context: ssl.SSLContext | None) -> httpx.AsyncClient:
    """A client for `ask_readiness`; without a context it can speak plain HTTP only."""
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    return httpx.AsyncClient(verify=context or no_tls, timeout=PROBE_TIMEOUT_S, trust_env=False)


async def ask_readiness(client: httpx.AsyncClient, url: str) -> str | None:
    """What the model server at `url` waits for, in words; None when it is ready."""
    try:
        answer = await client.get(f"http{url.removeprefix('ws')}/readyz")
    except httpx.HTTPError as error:
        return f"the model server at {url} ({type(error).__name__}: {error})"
    if answer.status_code == 200:
        return None
    return _waits_for(answer) or f"the model server at {url} (HTTP status {answer.status_code})"


def _waits_for(answer: httpx.Response) -> str:
    """What the model server itself says it waits for, in one line."""
    try:
        said = answer.json()["waits_for"]
    except (ValueError, KeyError, TypeError):
        return ""
    return ", ".join(map(str, said)) if isinstance(said, list) else ""


async def ask_capabilities(url: str, token: str, context: ssl.SSLContext | None) -> Capabilities | None:
    """What the engine can do, told by a session that is opened and closed at once; None when it was not told."""
    try:
        async with (
            asyncio.timeout(PROBE_TIMEOUT_S),
            connect(
                f"{url}/v1/sessions/probe-{uuid.uuid4().hex}",
                additional_headers={"Authorization": f"Bearer {token}"},
                ssl=context,
                compression=None,
                proxy=None,
                max_size=MAX_MESSAGE_BYTES,
            ) as socket,
        ):
            await socket.send(encode(Open()))
            data = await socket.recv()
            await socket.send(encode(Close()))
            reply = decode_reply(data) if isinstance(data, bytes) else None
    except (OSError, TimeoutError, WebSocketException, ProtocolError) as error:
        log.warning("capabilities_unknown", error=repr(error))
        return None
    return reply.capabilities if isinstance(reply, Opened) else None
