"""The whole service as a user starts it: `python -m realtime` in a process of its own, on free loopback ports."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60


class Service:
    """A running service. `url` is its plain-HTTP address, `ports` is where it listens by name (`http`, `https`,
    `install`), `lines` is everything it logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self.ports: dict[str, int] = {}
        self._news = asyncio.Event()
        self._end = asyncio.create_task(self._until_end())

    async def _until_end(self) -> None:
        await asyncio.gather(self._read(self.process.stdout), self._read(self.process.stderr))
        await self.process.wait()
        self._news.set()

    async def _read(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        async for line in stream:
            self.lines.append(line.decode(errors="replace").rstrip())
            self._news.set()

    def logged(self, event: str) -> dict[str, Any] | None:
        """The first log record of this name."""
        for line in self.lines:
            if line.startswith("{") and (record := json.loads(line)).get("event") == event:
                return dict(record)
        return None

    async def wait_logged(self, event: str, timeout: float = START_TIMEOUT_S) -> dict[str, Any]:
        """The first log record of this name, now or later; fails at once when the process ends."""
        async with asyncio.timeout(timeout):
            while (record := self.logged(event)) is None:
                if self.process.returncode is not None:
                    raise AssertionError("the service ended:\n" + "\n".join(self.lines[-20:]))
                self._news.clear()
                await self._news.wait()
        return record

    async def metric(self, name: str) -> float:
        """The sum of a metric now."""
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"{self.url}/metrics")).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    async def until_free(self, timeout: float = 10) -> None:
        """Until no call is left; the promise is 10 s."""
        async with asyncio.timeout(timeout):
            while await self.metric("realtime_calls_open"):  # noqa: ASYNC110 - another process has no Event for us
                await asyncio.sleep(0.05)

    async def stop(self) -> int:
        """Ask it to end (SIGTERM), by pid; returns the exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        status = await asyncio.wait_for(self.process.wait(), 15)
        await self._end
        return status


@asynccontextmanager
async def running_service(*flags: str, ready: bool = True, certificates: Path | None = None) -> AsyncIterator[Service]:
    """Start it, wait until calls can be made, and end it. With a folder for `certificates` it listens with HTTPS."""
    secure = ["--certificate-folder", str(certificates), "--port", "0", "--install-port", "0"]
    command = [sys.executable, "-m", "realtime", "--http-port", "0", "--log-format", "json"]
    command += ["--no-https"] if certificates is None else secure
    process = await asyncio.create_subprocess_exec(
        *command,
        "--loopback-candidates",
        *flags,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    service = Service(process)
    try:
        listening = await service.wait_logged("listening")
        service.ports = {name: listening[name] for name in ("http", "https", "install") if name in listening}
        service.url = f"http://localhost:{service.ports['http']}"
        if ready:
            await service.wait_logged("ready")
        yield service
    finally:
        await service.stop()
