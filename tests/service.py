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

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60


class Service:
    """A running service. `url` is its plain-HTTP address; `lines` is everything it logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self._news = asyncio.Event()
        self._readers = [asyncio.create_task(self._read(stream)) for stream in (process.stdout, process.stderr)]

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

    async def stop(self) -> int:
        """Ask it to end (SIGTERM), by pid; returns the exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        status = await asyncio.wait_for(self.process.wait(), 15)
        await asyncio.gather(*self._readers)
        return status


@asynccontextmanager
async def running_service(*flags: str, ready: bool = True) -> AsyncIterator[Service]:
    """Start it, wait until calls can be made, and end it."""
    command = [sys.executable, "-m", "realtime", "--http-port", "0", "--no-https", "--log-format", "json"]
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
        service.url = f"http://localhost:{(await service.wait_logged('listening'))['http']}"
        if ready:
            await service.wait_logged("ready")
        yield service
    finally:
        await service.stop()
