"""The whole gateway on real ports with a real model server (the echo engine); only the calls are doubles."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import certs
from realtime.service.child import ChildUnusable
from realtime.service.listeners import open_listeners
from realtime.service.metrics import Metrics
from realtime.service.serving import Start, host_names, serve, tls_context
from realtime.service.settings import Settings
from realtime.service.upstream import ModelServer
from tests.realtime.call_doubles import FactoryDouble
from tests.realtime.sdp_samples import CALL

SDP = {"content-type": "application/sdp"}


@dataclass
class Running:
    """A gateway that serves, and what belongs to it."""

    ports: dict[str, int]
    bundle: certs.Bundle
    factory: FactoryDouble
    model_server: ModelServer
    ready: asyncio.Event
    task: asyncio.Task[None]

    def client(self, name: str) -> httpx.AsyncClient:
        context = ssl.create_default_context(cafile=self.bundle.ca_certificate)
        scheme = "https" if name == "https" else "http"
        return httpx.AsyncClient(base_url=f"{scheme}://localhost:{self.ports[name]}", verify=context, trust_env=False)


@asynccontextmanager
async def _gateway(folder: Path, **values: Any) -> AsyncIterator[Running]:
    (folder / "index.html").write_text("<!doctype html>")
    free: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "http_port": 0, "install_port": 0, "engine": "echo"}
    settings = Settings(page_folder=folder, **{**free, **values})
    bundle = certs.ensure(folder / "certs")
    listeners = open_listeners(settings)
    ports = {name: listener.port for name, listener in listeners.named().items()}
    stop, ready, factory, seen = asyncio.Event(), asyncio.Event(), FactoryDouble(), list[ModelServer]()

    def create_factory(_settings: Settings, _metrics: Metrics, model_server: ModelServer) -> FactoryDouble:
        seen.append(model_server)
        return factory

    task = asyncio.create_task(serve(Start(settings, listeners, bundle, ready.set), stop, create_factory))
    try:
        await asyncio.sleep(0)
        yield Running(ports, bundle, factory, seen[0], ready, task)
    finally:
        stop.set()
        await asyncio.wait({task})
        listeners.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_it_serves_every_port_before_the_engine_is_ready_and_ends_whole(tmp_path: Path) -> None:
    async with _gateway(tmp_path) as running:
        for name in ("http", "https"):
            async with running.client(name) as client:
                assert (await client.get("/")).text == "<!doctype html>"
                assert (await client.get("/healthz")).status_code == 200
        async with running.client("install") as client:
            assert (await client.get("/ca.crt")).status_code == 200
            assert (await client.get("/v1/config")).status_code == 404
        await asyncio.wait_for(running.ready.wait(), 30)
        async with running.client("http") as client:
            assert (await client.get("/readyz")).json() == {"status": "ready"}
            assert (await client.get("/v1/config")).json()["engine"]["engine"] == "echo"
            assert (await client.post("/v1/realtime/calls", content=CALL, headers=SDP)).status_code == 201
        (call,) = running.factory.live
    assert call.end_reason == "shutdown"
    for port in running.ports.values():
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)


def test_only_modern_tls(tmp_path: Path) -> None:
    assert tls_context(certs.ensure(tmp_path / "certs")).minimum_version == ssl.TLSVersion.TLSv1_2


async def test_one_megabyte_over_a_real_socket_is_refused_and_the_next_request_is_served(tmp_path: Path) -> None:
    async with _gateway(tmp_path) as running, running.client("http") as client:
        big = await client.post("/v1/realtime/calls", content=b"v=0\r\n" * 200_000, headers=SDP)
        assert big.status_code == 413
        assert (await client.get("/healthz")).status_code == 200
        assert running.factory.calls == []


async def test_a_model_server_that_cannot_start_ends_the_service_with_its_words(tmp_path: Path) -> None:
    async with _gateway(tmp_path, engine="no-such-engine") as running:
        await asyncio.wait({running.task}, timeout=30)
        with pytest.raises(ChildUnusable, match=r"expected one of .*, got 'no-such-engine'"):
            running.task.result()


async def test_a_model_server_elsewhere_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    async with _gateway(tmp_path, model_server="ws://127.0.0.1:9", model_server_token="x") as running:
        async with running.client("http") as client:
            waiting = await client.get("/readyz")
        assert waiting.status_code == 503
        assert waiting.json()["waiting_for"]
        assert running.model_server.token == "x"


def test_the_names_it_is_reached_by(tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    bundle = certs.ensure(tmp_path / "certs", ["kiosk.local"], addresses=["192.168.1.5"])
    settings = Settings(page_folder=tmp_path, host="10.0.0.7", allowed_hosts=["calls.example"])
    names = set(host_names(settings, bundle))
    assert {"localhost", "127.0.0.1", "::1", "kiosk.local", "192.168.1.5", "10.0.0.7", "calls.example"} <= names
    assert "0.0.0.0" not in host_names(Settings(page_folder=tmp_path), None)
