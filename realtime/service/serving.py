"""The running gateway: model server, calls and HTTP servers in one event loop, ended in order.

Ending: no new calls, every call is hung up, then the servers close and the child goes. All of it within
`HANG_UP_S` plus the child's grace.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette

from certs import Bundle
from certs.install_page import create_app as create_install_app
from realtime.service.banner import lan_hosts
from realtime.service.child import ModelServerChild, child_command
from realtime.service.listeners import Listener, Listeners
from realtime.service.metrics import Metrics
from realtime.service.settings import Settings
from realtime.service.upstream import ModelServer, RemoteModelServer
from realtime.web.admission import CallFactory
from realtime.web.app import Gateway, create_app
from realtime.web.calls import CallLimits, Calls

HANG_UP_S = 1.5
SWEEP_S = 1.0
GARBAGE_AFTER = 5_000
"""Objects that came and stayed before the youngest are searched for garbage: a few seconds of one call."""

FactoryMaker = Callable[[Settings, Metrics, ModelServer], CallFactory]
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """What was made before the loop ran. `on_ready` is called once calls can be made."""

    settings: Settings
    listeners: Listeners
    bundle: Bundle | None
    on_ready: Callable[[], None]


async def serve(start: Start, stop: asyncio.Event, create_factory: FactoryMaker) -> None:
    """Serve until `stop`. Raises `realtime.service.child.ChildUnusable` when the model server cannot start as asked."""
    settings, metrics = start.settings, Metrics()
    clock = asyncio.get_running_loop().time
    model_server = create_model_server(settings, metrics, clock)
    limits = CallLimits(settings.max_calls, settings.max_call_minutes * 60, settings.waiting_places)
    calls = Calls(create_factory(settings, metrics, model_server), metrics, limits, clock=clock)
    app = create_app(Gateway(calls, model_server.readiness, settings, metrics), host_names(settings, start.bundle))
    servers = list(_servers(start, app))
    running = [_own(model_server.run()), _own(_sweep(calls, clock)), _own(_say_ready(start, model_server))]
    serving = [_own(server.serve(sockets=list(listener.sockets))) for server, listener in servers]
    stopping = _own(stop.wait())
    try:
        await _until_one_ends({stopping, *serving, running[0]})
        log.info("stopping", calls=len(calls))
    finally:
        stopping.cancel()
        await _within(HANG_UP_S, calls.aclose())
        for server, _ in servers:
            server.should_exit = True
        for task in running:
            task.cancel()
        await asyncio.wait({*running, *serving, stopping})


def create_model_server(settings: Settings, metrics: Metrics, clock: Callable[[], float]) -> ModelServer:
    """The one elsewhere that the settings name, or a child."""
    if settings.model_server is None:
        return ModelServerChild(child_command(settings), metrics, say=_say_child(settings), clock=clock)
    token = settings.model_server_token.get_secret_value() if settings.model_server_token else ""
    context = None
    if settings.model_server.startswith("wss:"):
        context = ssl.create_default_context(cafile=settings.model_server_ca)
    return RemoteModelServer(settings.model_server, token, context, metrics)


def host_names(settings: Settings, bundle: Bundle | None) -> tuple[str, ...]:
    """Every name and address the service may be reached by."""
    certified = bundle.names if bundle is not None else ()
    given = () if settings.host in ("0.0.0.0", "::") else (settings.host,)
    return ("localhost", "127.0.0.1", "::1", *certified, *given, *settings.names, *settings.allowed_hosts)


# --------------------------------------------------------------------------------------------------------------------
# HTTP servers


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: this module decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _servers(start: Start, app: Starlette) -> Iterator[tuple[_Server, Listener]]:
    listeners = start.listeners
    if listeners.http is not None:
        yield _server(app, None), listeners.http
    if listeners.https is not None and start.bundle is not None:
        yield _server(app, tls_context(start.bundle)), listeners.https
        if listeners.install is not None:
            hosts = lan_hosts(start.settings.host, start.bundle) or ["localhost"]
            page = create_install_app(start.bundle, f"https://{hosts[0]}:{listeners.https.port}")
            yield _server(page, None), listeners.install


def _server(app: Starlette, tls: ssl.SSLContext | None) -> _Server:
    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # A proxy on this machine may say that its side is HTTPS.
        forwarded_allow_ips=["127.0.0.1", "::1"],
        timeout_graceful_shutdown=1,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    return _Server(config)


def tls_context(bundle: Bundle) -> ssl.SSLContext:
    """TLS 1.2 and later with the leaf of `bundle`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(bundle.chain, bundle.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


# --------------------------------------------------------------------------------------------------------------------
# Tasks


async def _sweep(calls: Calls, clock: Callable[[], float]) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        calls.sweep(clock())


async def _say_ready(start: Start, model_server: ModelServer) -> None:
    await model_server.wait_ready(None)
    _settle_memory()
    start.on_ready()


def _settle_memory() -> None:
    """What is loaded by now stays: searching it for garbage beside RTP costs a processor 2 % and 50 ms at a time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER, 10, 10)


def _say_child(settings: Settings) -> Callable[[str], None]:
    """The child logs in the same form as we do: its lines pass, marked as its own for people."""

    def for_people(line: str) -> None:
        print(f"model server | {line}", file=sys.stderr, flush=True)

    def for_machines(line: str) -> None:
        if line.startswith("{"):
            print(line, file=sys.stderr, flush=True)
        else:
            log.warning("model_server_says", line=line)

    return for_machines if settings.log_format == "json" else for_people


async def _until_one_ends(tasks: set[asyncio.Task[Any]]) -> None:
    """Return, or raise what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("calls_did_not_end_in_time", seconds=seconds)


def _own(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(work)
