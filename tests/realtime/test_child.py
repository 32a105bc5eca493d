"""The model server as a child: started, watched, started again, and never left behind. The children here are real
processes, a few lines each.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from realtime.service import child as child_module
from realtime.service.child import ChildUnusable, ModelServerChild, child_command, pause_after
from realtime.service.metrics import Metrics
from realtime.service.settings import Settings
from realtime.web.refusals import ModelServerUnavailable
from tests.realtime.call_doubles import Clock

HEAD = """
import http.server, json, os, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(READY if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b'{"ready": false, "waits_for": ["the engine to warm up"]}')
    def log_message(self, *arguments): pass
READY = 200
def listen():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"event": "listening", "host": "127.0.0.1", "port": server.server_port}), flush=True)
def until_stdin_closes():
    sys.stdin.read()
"""
GOOD = "listen(); until_stdin_closes()"


class House:
    """A child with a clock and pauses of its own: a pause lasts until the test says `again`."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.said: list[str] = []
        self.heard = asyncio.Event()
        self.pauses: list[float] = []
        self.paused = asyncio.Event()
        self._go_on = asyncio.Event()

    def child(self, body: str, **environment: str) -> ModelServerChild:
        return ModelServerChild(
            [sys.executable, "-c", HEAD + body],
            self.metrics,
            say=self.say,
            clock=self.clock,
            environment={**os.environ, **environment},
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.paused.set()
        await self._go_on.wait()
        self._go_on.clear()

    def again(self) -> None:
        self.paused.clear()
        self._go_on.set()

    def say(self, line: str) -> None:
        self.said.append(line)
        self.heard.set()

    async def until_said(self, *lines: str) -> None:
        """Wait until these are the last lines the child said."""
        async with asyncio.timeout(20):
            while tuple(self.said[-len(lines) :]) != lines:
                await self.heard.wait()
                self.heard.clear()

    def restarts(self) -> float | None:
        return self.metrics.registry.get_sample_value("realtime_model_server_restarts_total")


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    async def no_capabilities(*_: object) -> None:
        return None

    monkeypatch.setattr(child_module, "ask_capabilities", no_capabilities)
    monkeypatch.setattr(child_module, "PROBE_INTERVAL_S", 0.01)
    return House()


@asynccontextmanager
async def _running(child: ModelServerChild) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(child.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert asyncio.all_tasks() == {asyncio.current_task()}


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_child_gets_ready_and_ends_with_its_stdin(house: House) -> None:
    child = house.child(GOOD)
    with pytest.raises(ModelServerUnavailable):
        _ = child.url
    async with _running(child):
        await child.wait_ready(20)
        assert child.url.startswith("ws://127.0.0.1:")
        assert child.ssl is None
        assert house.metrics.registry.get_sample_value("realtime_model_server_ready") == 1
        pid = child.pid
        assert pid is not None
    assert not _lives(pid)
    assert not child.readiness.is_ready
    assert house.pauses == []


async def test_the_token_goes_by_environment_and_differs_from_child_to_child(house: House) -> None:
    body = 'sys.stderr.write(os.environ["MODEL_SERVER_TOKEN"] + "\\n"); listen(); until_stdin_closes()'
    child = house.child(body)
    async with _running(child):
        await child.wait_ready(20)
        await house.until_said(child.token)
    assert len(child.token) >= 40
    assert child.token != house.child(body).token


async def test_a_child_that_dies_is_started_again_with_growing_pauses(house: House) -> None:
    child = house.child("listen(); sys.stdin.readline(); os._exit(7)")
    async with _running(child):
        for number in range(3):
            await child.wait_ready(20)
            assert child.pid is not None
            os.kill(child.pid, 9)
            await house.paused.wait()
            assert house.restarts() == number
            with pytest.raises(ModelServerUnavailable, match="start again"):
                _ = child.url
            house.again()
        await child.wait_ready(20)
    assert house.pauses == [0.5, 1.0, 2.0]


async def test_a_child_that_was_steady_starts_its_pauses_anew(house: House) -> None:
    child = house.child(GOOD)
    async with _running(child):
        for _ in range(3):
            await child.wait_ready(20)
            house.clock.now += 61
            assert child.pid is not None
            os.kill(child.pid, 9)
            await house.paused.wait()
            house.again()
    assert house.pauses == [0.5, 0.5, 0.5]


def test_pauses_double_up_to_their_longest() -> None:
    assert [pause_after(failures) for failures in (1, 2, 3, 4, 5, 6, 1000)] == [0.5, 1, 2, 4, 8, 8, 8]


async def test_a_child_that_cannot_use_its_options_is_not_started_again(house: House) -> None:
    child = house.child('sys.stderr.write("noise\\nscript.yaml line 3: expected a list\\n"); sys.exit(2)')
    with pytest.raises(ChildUnusable, match=r"^script\.yaml line 3: expected a list$"):
        await asyncio.wait_for(child.run(), 20)
    assert house.said == ["noise", "script.yaml line 3: expected a list"]


async def test_it_may_also_find_out_after_it_listens(house: House) -> None:
    child = house.child('READY = 503; listen(); sys.stderr.write("no such voice\\n"); sys.exit(2)')
    with pytest.raises(ChildUnusable, match="no such voice"):
        await asyncio.wait_for(child.run(), 20)


async def test_status_2_of_a_child_that_had_been_ready_is_a_death_like_any_other(house: House) -> None:
    child = house.child("listen(); sys.stdin.readline(); sys.exit(2)")
    async with _running(child):
        await child.wait_ready(20)
        process = child._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(b"\n")
        await house.paused.wait()
    assert house.pauses == [0.5]


async def test_a_child_that_is_not_ready_says_what_it_waits_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    child = house.child("READY = 503; " + GOOD)
    set_waiting, told = child.readiness.set_waiting, asyncio.Event()

    def listen_in(waiting_for: str) -> None:
        set_waiting(waiting_for)
        if waiting_for == "the engine to warm up":
            told.set()

    monkeypatch.setattr(child.readiness, "set_waiting", listen_in)
    async with _running(child):
        await asyncio.wait_for(told.wait(), 20)
        with pytest.raises(ModelServerUnavailable, match="waiting for the engine to warm up"):
            await child.wait_ready(0)


@pytest.mark.parametrize(
    "line", ["hello", "{}", '{"event": "listening"}', "[1]", '{"event": "listening", "host": 1, "port": "x"}']
)
async def test_a_child_that_talks_nonsense_is_ended_and_started_again(house: House, line: str) -> None:
    child = house.child(f"print({line!r}, flush=True); until_stdin_closes()")
    async with _running(child):
        await asyncio.wait_for(house.paused.wait(), 20)
    assert house.pauses == [0.5]


async def test_a_child_that_never_says_where_it_listens_is_ended(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "START_TIMEOUT_S", 0.05)
    async with _running(house.child("until_stdin_closes()")):
        await asyncio.wait_for(house.paused.wait(), 20)


async def test_a_child_that_ignores_everything_is_killed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "STDIN_CLOSED_GRACE_S", 0.05)
    monkeypatch.setattr(child_module, "TERMINATED_GRACE_S", 0.05)
    body = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); listen()\nwhile True: signal.pause()"
    child = house.child(body)
    async with _running(child):
        await child.wait_ready(20)
        pid = child.pid
        assert pid is not None
    assert not _lives(pid)


async def test_much_talk_does_not_stop_a_child(house: House) -> None:
    talk = 'sys.stdout.write("x" * 1_000_000); sys.stdout.flush(); sys.stderr.write("y" * 3_000_000 + "\\nlast\\n")'
    child = house.child(f"listen(); {talk}; until_stdin_closes()")
    async with _running(child):
        await child.wait_ready(20)
        await house.until_said("last")
    assert max(map(len, house.said)) < 2_000_000


async def test_no_interrupt_of_ours_reaches_the_child(house: House) -> None:
    child = house.child(GOOD)
    async with _running(child):
        await child.wait_ready(20)
        assert child.pid is not None
        assert os.getsid(child.pid) != os.getsid(0)


def test_the_command_asks_for_what_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    network = {"model": "mid", "devices": "cuda:0,cuda:1", "dtype": "float16", "quantize": "int8"}
    settings = Settings(page_folder=tmp_path, engine="demo", script=Path("desk.yaml"), max_calls=3, **network)
    command = child_command(settings)
    assert command[:3] == [sys.executable, "-m", "model_server"]
    for pair in (
        ["--script", "desk.yaml"],
        *([f"--{name}", value] for name, value in network.items()),
        ["--port", "0"],
        ["--host", "127.0.0.1"],
        ["--max-sessions", "4"],
    ):
        assert pair == command[command.index(pair[0]) : command.index(pair[0]) + 2]
    assert "--die-with-stdin" in command
