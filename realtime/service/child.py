"""A model server of our own: a child process on a loopback port, kept alive, and ended with us.

The child gets a random token by environment, says on stdout where it listens, and ends itself when its stdin closes, so
it cannot outlive this process whatever kills it. When it dies it is started again after a pause that doubles.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import ssl
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from realtime.service.metrics import Metrics
from realtime.service.settings import Settings
from realtime.service.upstream import Readiness, Sleep, ask_capabilities, ask_readiness, probe_client
from realtime.web.refusals import ModelServerUnavailable

START_TIMEOUT_S = 30.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
PROBE_INTERVAL_S = 0.1
STEADY_S = 60.0
"""A child that was ready this long starts its pauses anew."""

STDIN_CLOSED_GRACE_S = 3.0
TERMINATED_GRACE_S = 1.0
UNUSABLE_OPTIONS = 2
"""Exit status of a child that will never start as it was asked to: a broken script, a bad option."""

_LONGEST_LINE = 1024 * 1024
log = structlog.get_logger(__name__)


class ChildUnusable(Exception):
    """The child cannot start with these options; the message is the last thing it said itself."""


def child_command(settings: Settings) -> list[str]:
    """The command line that starts the model server these settings ask for."""
    command = [sys.executable, "-m", "model_server", "--engine", settings.engine]
    command += ["--host", "127.0.0.1", "--port", "0", "--die-with-stdin"]
    # One more than there are calls, so that asking for the capabilities never takes a caller's place.
    command += ["--max-sessions", str(settings.max_calls + 1)]
    command += ["--log-level", settings.log_level, "--log-format", settings.log_format]
    if settings.script is not None:
        command += ["--script", str(settings.script)]
    for name in ("model", "devices", "dtype", "quantize"):
        value = getattr(settings, name)
        if value is not None:
            command += [f"--{name}", value]
    return command


def pause_after(failures: int) -> float:
    """Seconds to wait before the next start, after so many failures in a row (1, 2, ...)."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16))


class ModelServerChild:
    """Starts `command` and keeps it running while `run` runs. `say` gets every line of its stderr."""

    def __init__(
        self,
        command: Sequence[str],
        metrics: Metrics,
        *,
        say: Callable[[str], None],
        clock: Callable[[], float],
        environment: Mapping[str, str] = os.environ,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.token = secrets.token_urlsafe(32)
        self.readiness = Readiness(metrics)
        self._command = tuple(command)
        self._metrics = metrics
        self._say = say
        self._clock = clock
        self._environment = {**environment, "MODEL_SERVER_TOKEN": self.token}
        self._sleep = sleep
        self._url: str | None = None
        self._ready_since: float | None = None
        self._was_ready = False
        self._last_words: deque[str] = deque(maxlen=1)
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where it listens now. Raises `ModelServerUnavailable` between two lives."""
        if self._url is None:
            raise ModelServerUnavailable(f"waiting for {self.readiness.waiting_for}")
        return self._url

    @property
    def ssl(self) -> ssl.SSLContext | None:
        """None: a loopback port needs no TLS."""
        return None

    @property
    def pid(self) -> int | None:
        """The process it is now."""
        return self._process.pid if self._process is not None else None

    async def wait_ready(self, timeout: float | None) -> None:
        await self.readiness.wait(timeout)

    async def run(self) -> None:
        """Until cancelled; then the child is ended first. Raises `ChildUnusable`."""
        failures = 0
        while True:
            status = await self._live()
            if status == UNUSABLE_OPTIONS and not self._was_ready:
                raise ChildUnusable(self._last_words[-1] if self._last_words else "it did not say why")
            failures = 1 if self._was_steady() else failures + 1
            pause = pause_after(failures)
            log.warning("model_server_ended", status=status, starts_again_in_s=pause)
            await self._sleep(pause)
            self._metrics.model_server_restarts.inc()

    # ---------------------------------------------------------------------------------------------- one life

    async def _live(self) -> int:
        """From start to end of one process; returns its exit status."""
        self.readiness.set_waiting("the model server to start")
        self._ready_since = None
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._environment,
            limit=_LONGEST_LINE,
            # Ctrl-C in our terminal is ours to handle: the child ends when we close its stdin.
            start_new_session=True,
        )
        talking = asyncio.create_task(self._forward(process), name="model server's log")
        starting = asyncio.create_task(self._get_ready(process), name="model server's start")
        try:
            status = await process.wait()
            self.readiness.set_waiting("the model server to start again")
            return status
        finally:
            listens, self._url = self._url is not None, None
            self.readiness.stop()
            starting.cancel()
            await _end(process, gently=listens)
            await asyncio.wait({talking, starting}, timeout=TERMINATED_GRACE_S)
            # A grandchild may still hold the pipe open.
            talking.cancel()
            _tell_failure(starting)
            self._process = None

    async def _get_ready(self, process: Process) -> None:
        """Learn where it listens, wait until its engine is ready, then only keep its stdout from filling."""
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
                if not line:
                    # It is about to end: its exit status says more than we could.
                    await process.wait()
                    return
                url = _listening_url(line)
        except (TimeoutError, ValueError) as error:
            if process.returncode is None:
                log.error("model_server_did_not_start", error=str(error) or "it did not say where it listens")
                process.kill()
            return
        self._url = url
        async with probe_client(None) as client:
            while (waiting_for := await ask_readiness(client, url)) is not None:
                self.readiness.set_waiting(waiting_for)
                await asyncio.sleep(PROBE_INTERVAL_S)
        self.readiness.set_ready(await ask_capabilities(url, self.token, None))
        self._was_ready = True
        self._ready_since = self._clock()
        log.info("model_server_ready", engine=self._engine_name())
        while await process.stdout.read(4096):
            pass

    async def _forward(self, process: Process) -> None:
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:
                line = b"(a line too long to show)\n"
            if not line:
                return
            if text := line.decode(errors="replace").strip():
                self._last_words.append(text)
                self._say(text)

    def _was_steady(self) -> bool:
        return self._ready_since is not None and self._clock() - self._ready_since >= STEADY_S

    def _engine_name(self) -> str:
        capabilities = self.readiness.capabilities
        return capabilities.engine if capabilities is not None else "unknown"


def _listening_url(line: bytes) -> str:
    """From the child's first line, `{"event": "listening", "host": ..., "port": ...}`. Raises `ValueError`."""
    message = json.loads(line)
    if not isinstance(message, dict) or message.get("event") != "listening" or not {"host", "port"} <= set(message):
        raise ValueError(f"expected a `listening` line, got {line[:80]!r}")
    return f"ws://{message['host']}:{int(message['port'])}"


def _tell_failure(task: asyncio.Task[None]) -> None:
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        log.error("model_server_start_failed", error=repr(error))


async def _end(process: Process, *, gently: bool) -> None:
    """Close its stdin (what it holds is ended in order), then ask, then force; returns when it is gone.

    One that does not listen yet holds nothing and may not look at its stdin either: it is asked at once.
    """
    assert process.stdin is not None
    process.stdin.close()
    if await _is_gone(process, STDIN_CLOSED_GRACE_S if gently else 0.0):
        return
    process.terminate()
    if await _is_gone(process, TERMINATED_GRACE_S):
        return
    log.warning("model_server_killed", pid=process.pid)
    process.kill()
    await process.wait()


async def _is_gone(process: Process, within_s: float) -> bool:
    if process.returncode is None and within_s:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await process.wait()
    return process.returncode is not None
