"""`python -m model_server` as its parent sees it: one line on standard output, exit statuses, an end with its stdin."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from model_server.protocol import Draining, Error, Open, Opened, decode_reply, encode

ROOT = Path(__file__).resolve().parents[2]
GUARD_S = 60.0
TOKEN = "a token"


@asynccontextmanager
async def started(*arguments: str, token: str | None = TOKEN) -> AsyncIterator[Process]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MODEL_SERVER_")}
    if token is not None:
        environment["MODEL_SERVER_TOKEN"] = token
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "model_server",
        *arguments,
        cwd=ROOT,
        env=environment,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def listening(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(GUARD_S):
        line = await process.stdout.readline()
    if not line:
        raise AssertionError((await process.communicate())[1].decode())
    return dict(json.loads(line))


async def outcome(*arguments: str, token: str | None = TOKEN) -> tuple[int | None, str]:
    """Exit status and standard error of a server that does not start."""
    async with started(*arguments, token=token) as process, asyncio.timeout(GUARD_S):
        out, err = await process.communicate()
        assert out == b""
        return process.returncode, err.decode()


def session_url(line: dict[str, Any]) -> str:
    return f"ws://{line['host']}:{line['port']}/v1/sessions/call"


HEADERS = {"Authorization": f"Bearer {TOKEN}"}


async def test_it_says_where_it_listens_and_ends_with_its_stdin() -> None:
    async with started("--engine", "echo", "--port", "0", "--die-with-stdin") as process:
        line = await listening(process)
        assert line["event"] == "listening"
        async with connect(session_url(line), additional_headers=HEADERS) as connection:
            await connection.send(encode(Open(wait=True)))
            while not isinstance(decode_reply(bytes(await connection.recv())), Opened):  # type: ignore[arg-type]
                continue
            assert process.stdin is not None
            process.stdin.close()
            said = [decode_reply(bytes(data)) async for data in connection]  # type: ignore[arg-type]
        assert [type(message) for message in said] == [Draining, Error]
        async with asyncio.timeout(GUARD_S):
            assert await process.wait() == 0
        assert process.stdout is not None
        assert await process.stdout.read() == b""


async def test_a_signal_drains_and_ends_with_status_0() -> None:
    async with started("--engine", "native", "--port", "0", "--drain-s", "0") as process:
        await listening(process)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(GUARD_S):
            assert await process.wait() == 0


async def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, err = await outcome("--engine", "echo", "--port", str(port))
    assert status == 2
    assert err.count("\n") == 1
    assert str(port) in err
    assert "--port" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--engine", "nobody"], "engine: expected one of demo, echo, native, got 'nobody'"),
        (["--engine", "echo", "--script", "x.yaml"], "script: the engine echo takes no options"),
        (["--port", "99999"], "port: input should be less than or equal to 65535, got '99999'"),
        (["--certificate", "/nowhere.pem", "--key", "/nowhere.key"], "certificate: cannot read /nowhere.pem"),
        (["--config", "/nowhere.toml"], "config: cannot read /nowhere.toml"),
    ],
)
async def test_a_wrong_setting_is_said_in_one_line(arguments: list[str], says: str) -> None:
    if "--engine" not in arguments:
        arguments = ["--engine", "echo", *arguments]
    status, err = await outcome(*arguments)
    assert status == 2
    assert err.count("\n") == 1
    assert says in err


async def test_without_a_token_it_does_not_start() -> None:
    status, err = await outcome("--engine", "echo", token=None)
    assert status == 2
    assert "MODEL_SERVER_TOKEN" in err
    status, err = await outcome("--engine", "echo", "--insecure-no-token", "--host", "0.0.0.0", token=None)
    assert status == 2
    assert "loopback" in err
