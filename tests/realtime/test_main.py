"""`python -m realtime` as a process: what it prints, how it ends, and with which status."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import stat
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest

FREE = ("--port", "0", "--http-port", "0", "--install-port", "0")


async def _start(folder: Path, *flags: str) -> Process:
    page = folder / "page"
    page.mkdir(exist_ok=True)
    (page / "index.html").write_text("<!doctype html>")
    fixed = ("--page-folder", str(page), "--certificate-folder", str(folder / "certs"), "--host", "127.0.0.1")
    # Later flags win, so a test can say its own.
    command = (sys.executable, "-m", "realtime", *fixed, "--engine", "echo", *FREE, *flags)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)


@contextlib.asynccontextmanager
async def _ended_at_last(process: Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _fails(folder: Path, *flags: str) -> str:
    """Start what cannot start; returns the line it says last."""
    process = await _start(folder, *flags)
    async with _ended_at_last(process):
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    *_, line = errors.decode().splitlines()
    assert b"Traceback" not in errors
    return line


async def _until_line(process: Process, start: str) -> str:
    """Everything it prints up to the line that begins so."""
    assert process.stdout is not None
    text = ""
    while line := (await asyncio.wait_for(process.stdout.readline(), 60)).decode():
        text += line
        if line.startswith(start):
            return text
    raise AssertionError(f"it ended before it said {start!r}: {text}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_where_to_go_serves_and_ends_when_told(tmp_path: Path, number: signal.Signals) -> None:
    process = await _start(tmp_path)
    async with _ended_at_last(process):
        text = await _until_line(process, "Ready")
        address = re.search(r"http://localhost:\d+", text)
        assert address is not None
        assert re.search(r"https://localhost:\d+", text)
        assert re.search(r"([0-9A-F]{2} ){7}[0-9A-F]{2}", text), "the fingerprint to compare"
        async with httpx.AsyncClient(base_url=address[0], trust_env=False) as client:
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/v1/config")).json()["engine"]["engine"] == "echo"
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    assert b"Traceback" not in errors
    assert [child for child in children if child.is_running()] == []


async def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = await _fails(tmp_path, "--port", str(port))
    assert line == f"port {port} is in use: stop what listens there, or choose another with --port"


async def test_a_certificate_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = await _fails(tmp_path, "--certificate-folder", str(tmp_path / "file" / "certs"))
    assert str(tmp_path / "file") in line


async def test_a_certificate_folder_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    if os.access(folder, os.W_OK):  # root may write everywhere: take a file system that nobody may write to
        folder = Path("/proc/certs")
    line = await _fails(tmp_path, "--certificate-folder", str(folder))
    assert str(folder) in line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--port", "x"), "flag --port: expected a whole number from 0 to 65535, got 'x'"),
        (("--prot", "1"), "unrecognized arguments: --prot 1 (see --help)"),
        (("--engine", "none-such"), "cannot start the model server: engine: expected one of"),
        (("--model-server", "http://x"), "flag --model-server: a model server is wss://"),
    ],
)
async def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, flags: tuple[str, str], message: str) -> None:
    assert (await _fails(tmp_path, *flags)).startswith(message)


async def test_a_broken_script_is_said_with_its_file(tmp_path: Path) -> None:
    script = tmp_path / "broken.yaml"
    script.write_text("intents: [")
    assert "broken.yaml" in await _fails(tmp_path, "--engine", "demo", "--script", str(script))
