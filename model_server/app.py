"""The model server as an ASGI application: the session socket, and what operators ask."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from model_server.engine import Engine
from model_server.host import SessionHost
from model_server.house import House
from model_server.protocol import Limits
from model_server.session_socket import serve_socket
from model_server.sessions import TableLimits

SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What the application needs to know. `token` is the bearer token; empty lets everyone in.

    `max_sessions` is lowered to what the engine can hold; times in seconds, speech in ms.
    """

    token: str
    max_sessions: int = 16
    max_waiting: int = 32
    idle_s: float = 300.0
    resume_s: float = 30.0
    speech_ahead_ms: int = 5_000
    marks: int = 16

    def limits(self, engine: Engine) -> Limits:
        """What a session is told."""
        return Limits(
            max_sessions=min(self.max_sessions, engine.max_sessions),
            context=engine.context,
            speech_ahead_ms=self.speech_ahead_ms,
            marks=self.marks,
            idle_s=self.idle_s,
            resume_s=self.resume_s,
        )


def create_app(engine: Engine, settings: AppSettings, clock: Callable[[], float] = time.monotonic) -> Starlette:
    """The application; its lifespan starts and ends `engine`. `app.state.host` is the `SessionHost`."""
    limits = settings.limits(engine)
    table_limits = TableLimits(limits.max_sessions, settings.max_waiting, limits.idle_s, limits.resume_s)
    host = SessionHost(House(engine, limits, clock), table_limits)
    host.house.metrics.show(engine.statistics)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        host.start()
        try:
            yield
        finally:
            await host.aclose()

    async def session_socket(websocket: WebSocket) -> None:
        session_id = websocket.path_params["session_id"]
        if not _authorized(websocket, settings.token):
            await _deny(websocket, 403, "the bearer token is missing or wrong: send `Authorization: Bearer <token>`")
        elif SESSION_ID.fullmatch(session_id) is None:
            await _deny(websocket, 400, "a session id has 1 to 64 of the characters A-Z a-z 0-9 _ -: choose another")
        else:
            await websocket.accept()
            await serve_socket(websocket, session_id, host)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        waits_for = _waits_for(app)
        return JSONResponse({"ready": not waits_for, "waits_for": waits_for}, status_code=503 if waits_for else 200)

    async def metrics(_: Request) -> Response:
        return Response(host.house.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app = Starlette(
        routes=[
            WebSocketRoute("/v1/sessions/{session_id:path}", session_socket),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ],
        lifespan=lifespan,
    )
    app.state.host = host
    return app


def _waits_for(app: Starlette) -> list[str]:
    host: SessionHost = app.state.host
    if host.draining:
        return ["the sessions to end: the server is going away"]
    if host.ready:
        return []
    engine = host.house.engine
    busy_with = f": {engine.waits_for}" if engine.waits_for else ""
    return [f"the engine {engine.capabilities.engine} to start{busy_with}"]


def _authorized(websocket: WebSocket, token: str) -> bool:
    given = websocket.headers.get("authorization", "")
    return not token or hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


async def _deny(websocket: WebSocket, status: Literal[400, 403], message: str) -> None:
    """Answer the handshake with an HTTP error, in words where the server can."""
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(PlainTextResponse(message + "\n", status_code=status))
    else:
        await websocket.close(1008, message)
