"""The process around the application: its listening socket, its signals, its orderly end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from starlette.applications import Starlette

from model_server.app import create_app
from model_server.engine import Engine, EngineUnusable
from model_server.host import SessionHost
from model_server.protocol import MAX_MESSAGE_BYTES
from model_server.settings import Settings

log = structlog.get_logger(__name__)

FORCED_END_S = 5.0
"""A process whose parent is gone does not outlive it longer than this, whatever hangs."""


class CannotListen(Exception):
    """The address cannot be taken; one line says which setting changes it."""


class ModelServer(uvicorn.Server):
    """uvicorn, which says where it listens and drains the sessions before it closes their sockets."""

    def __init__(self, config: uvicorn.Config, host: SessionHost, drain_s: float, listener: socket.socket) -> None:
        super().__init__(config)
        self.failure = ""
        self.unusable = False
        """Whether it would fail again and again."""
        self._host = host
        self._drain_s = drain_s
        self._listener = listener
        self._ending: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then print the one line on standard output."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        print(json.dumps({"event": "listening", "host": host, "port": port}), flush=True)
        assert self._host.starting is not None
        self._host.starting.add_done_callback(self._engine_started)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: drain, then end with status 0. Second: end now."""
        self.end_soon(self._drain_s)

    def end_soon(self, drain_s: float) -> None:
        """End from any thread, or at once when called again."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin_end, drain_s)

    def _begin_end(self, drain_s: float) -> None:
        if self._ending is not None:
            self.should_exit = True
            return
        self._ending = asyncio.create_task(self._drain(drain_s), name="drain")

    async def _drain(self, drain_s: float) -> None:
        log.info("draining", deadline_s=drain_s)
        self._host.drain(drain_s)
        await self._host.emptied()
        self.should_exit = True

    def _engine_started(self, starting: asyncio.Task[None]) -> None:
        error = None if starting.cancelled() else starting.exception()
        if error is not None:
            self.unusable = isinstance(error, EngineUnusable)
            self._fail(str(error))
        elif self._host.watching is not None:
            self._host.watching.add_done_callback(self._engine_broken)

    def _engine_broken(self, watching: asyncio.Task[str]) -> None:
        """End once the sessions were told: whoever started this process starts another."""
        if not watching.cancelled():
            self._fail(repr(watching.exception()) if watching.exception() else watching.result())

    def _fail(self, why: str) -> None:
        self.failure = f"engine {self._host.house.engine.capabilities.engine}: {' '.join(why.split())}"
        self.end_soon(0.0)


class CannotServe(Exception):
    """The engine cannot start as it was asked to; one line says what to change."""


def serve(settings: Settings, engine: Engine) -> str:
    """Serve until a signal, or until standard input ends where that was asked for; returns why it failed, or ''.

    Raises `CannotListen`, `CannotServe`.
    """
    app = create_app(engine, settings.app_settings())
    config = _uvicorn_config(app, settings)
    listener = listen(settings.host, settings.port)
    server = ModelServer(config, app.state.host, settings.drain_s, listener)
    if settings.die_with_stdin:
        threading.Thread(target=_end_with_stdin, args=(server,), daemon=True, name="stdin").start()
    server.run(sockets=[listener])
    if server.unusable:
        raise CannotServe(server.failure)
    return server.failure


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises `CannotListen`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol number asyncio leaves Nagle's algorithm on: 40 ms for a small answer behind a large one.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {host} port {port} ({error.strerror}): choose another --port") from error
    return listener


def _uvicorn_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="auto",
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=3,
        ssl_certfile=_readable("certificate", settings.certificate),
        ssl_keyfile=_readable("key", settings.key),
    )
    try:
        config.load()
    except ssl.SSLError as error:
        raise CannotListen(f"certificate {settings.certificate} and key {settings.key} do not work: {error}") from error
    return config


def _readable(name: str, path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        path.read_bytes()
    except OSError as error:
        raise CannotListen(f"{name}: cannot read {path} ({error.strerror})") from error
    return str(path)


def _end_with_stdin(server: ModelServer) -> None:
    """Wait for the end of standard input; by file descriptor, because a buffered reader cannot be left behind."""
    while os.read(sys.stdin.fileno(), 4096):
        continue
    server.end_soon(0.0)
    time.sleep(FORCED_END_S)
    os.kill(os.getpid(), signal.SIGKILL)
