"""A model server elsewhere: asked whether it takes sessions, and what its engine can do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from model_server.app import AppSettings, create_app
from model_server.registry import create_engine
from realtime.service.metrics import Metrics
from realtime.service.upstream import PROBE_READY_S, PROBE_UNREADY_S, RemoteModelServer
from realtime.web.refusals import ModelServerUnavailable


class _Server(uvicorn.Server):
    """Says when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serves = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serves.set()


@asynccontextmanager
async def _echo(port: int = 0) -> AsyncIterator[int]:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    app = create_app(create_engine("echo", {}), AppSettings(token="right"))
    server = _Server(uvicorn.Config(app, log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve([listener]))
    await server.serves.wait()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


class Pauses:
    """Pauses that last until the test lets go."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self.go_on = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self.go_on.wait()
        self.go_on.clear()


@asynccontextmanager
async def _watched(port: int, token: str = "right") -> AsyncIterator[tuple[RemoteModelServer, Pauses]]:
    pauses = Pauses()
    remote = RemoteModelServer(f"ws://127.0.0.1:{port}", token, None, Metrics(), sleep=pauses)
    task = asyncio.create_task(remote.run())
    try:
        yield remote, pauses
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_one_that_is_ready_tells_what_it_can_do() -> None:
    async with _echo() as port, _watched(port) as (remote, pauses):
        assert await asyncio.wait_for(pauses.asked.get(), 20) == PROBE_READY_S
        await remote.wait_ready(0)
        assert remote.readiness.capabilities is not None
        assert remote.readiness.capabilities.engine == "echo"


async def test_with_a_wrong_token_the_capabilities_stay_unknown() -> None:
    async with _echo() as port, _watched(port, token="wrong") as (remote, pauses):
        await asyncio.wait_for(pauses.asked.get(), 20)
        assert remote.readiness.capabilities is None


async def test_one_that_goes_and_comes_back() -> None:
    async with _echo() as port:
        pass
    async with _watched(port) as (remote, pauses):
        assert await asyncio.wait_for(pauses.asked.get(), 20) == PROBE_UNREADY_S
        with pytest.raises(ModelServerUnavailable, match=f"model server at ws://127.0.0.1:{port}"):
            await remote.wait_ready(0)
        async with _echo(port):
            pauses.go_on.set()
            await remote.wait_ready(20)
            assert await asyncio.wait_for(pauses.asked.get(), 20) == PROBE_READY_S
        pauses.go_on.set()
        assert await asyncio.wait_for(pauses.asked.get(), 20) == PROBE_UNREADY_S
        assert not remote.readiness.is_ready
