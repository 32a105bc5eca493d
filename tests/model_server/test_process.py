"""`python -m model_server` as its parent sees it: one line on standard output, exit statuses, an end with its stdin."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from model_server.__main__ import main
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


Refusal = Callable[..., str]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """The one line with which a server that cannot start ends, with status 2 and nothing on standard output."""
    monkeypatch.setattr("model_server.__main__.configure_logs", lambda level, form: None)

    def refuse(*arguments: str, token: str = TOKEN) -> str:
        monkeypatch.setenv("MODEL_SERVER_TOKEN", token)
        assert main(["--engine", "echo", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return str(err)

    return refuse


def test_a_port_in_use_is_said_in_one_line(refusal: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        line = refusal("--port", port)
    assert port in line
    assert "--port" in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--engine", "nobody"], "engine: expected one of demo, echo, minicpmo, native, got 'nobody'"),
        (["--script", "x.yaml"], "script: the engine echo takes no options"),
        (["--port", "99999"], "port: input should be less than or equal to 65535, got '99999'"),
        (["--certificate", "/nowhere.pem", "--key", "/nowhere.key"], "certificate: cannot read /nowhere.pem"),
        (["--config", "/nowhere.toml"], "config: cannot read /nowhere.toml"),
    ],
)
def test_a_wrong_setting_is_said_in_one_line(refusal: Refusal, arguments: list[str], says: str) -> None:
    assert says in refusal(*arguments)


def test_files_that_are_no_certificate_are_named(refusal: Refusal, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_text("no certificate")
    line = refusal("--certificate", str(garbage), "--key", str(garbage))
    assert f"certificate {garbage} and key {garbage} do not work" in line


def test_without_a_token_it_does_not_start(refusal: Refusal) -> None:
    assert "MODEL_SERVER_TOKEN" in refusal(token="")
    assert "loopback" in refusal("--insecure-no-token", "--host", "0.0.0.0", token="")
