"""An engine that ends under living sessions, one that finds out late how many fit, one that can never start."""

from __future__ import annotations

import asyncio

import pytest

from model_server.__main__ import main
from model_server.doubles.echo import EchoEngine, EchoSession
from model_server.engine import EngineSession, EngineUnusable, Kept, Mark, MarkGone
from model_server.protocol import Cancel, Error, Open, Opened, Refused, Rollback, SessionConfig
from model_server.serving import CannotServe, serve
from model_server.settings import load_settings
from tests.model_server.samples import TURNS
from tests.model_server.wire import serve as serving

LOCAL = ["--insecure-no-token", "--port", "0"]


class MortalEngine(EchoEngine):
    """Dies when it is told to; `places` may change while it lives."""

    def __init__(self) -> None:
        self.death: asyncio.Event = asyncio.Event()
        self.places = 16

    @property
    def max_sessions(self) -> int:
        return self.places

    async def broken(self) -> str:
        await self.death.wait()
        return "the card fell off the bus"


class SuddenEngine(EchoEngine):
    """Dies as soon as it has started."""

    async def broken(self) -> str:
        return "the card fell off the bus"


class UnusableEngine(EchoEngine):
    """Was asked for what is not there."""

    async def start(self) -> None:
        raise EngineUnusable("model: expected a folder,\nfound none")


async def test_when_the_engine_dies_sessions_end_with_a_reason_and_nobody_is_let_in() -> None:
    engine = MortalEngine()
    async with serving(engine) as server:
        gateway = await server.open("call")
        engine.death.set()
        error = await gateway.until(Error)
        assert (error.code, error.message) == ("engine_failed", "the engine failed: the card fell off the bus")
        assert (await gateway.closed()).code == 1011
        assert not server.host.ready
        late = await server.connect("late")
        await late.say(Open())
        assert (await late.until(Refused)).code == "draining"


async def test_places_follow_what_the_engine_finds_out() -> None:
    engine = MortalEngine()
    async with serving(engine, max_sessions=16) as server:
        first = await server.open("one")
        engine.places = 1
        full = await server.connect("two")
        await full.say(Open())
        assert (await full.until(Refused)).code == "server_full"
        engine.places = 3
        second = await server.connect("two")
        await second.say(Open())
        assert (await second.until(Opened)).limits.max_sessions == 3
        assert await first.barrier(SessionConfig()) == []


def test_a_server_whose_engine_died_ends_with_a_failure() -> None:
    assert serve(load_settings(LOCAL), SuddenEngine()) == "engine echo: the card fell off the bus"


def test_an_engine_that_can_never_start_is_no_failure_to_try_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotServe, match="engine echo: model: expected a folder, found none"):
        serve(load_settings(LOCAL), UnusableEngine())
    monkeypatch.setattr("model_server.__main__.configure_logs", lambda level, form: None)
    monkeypatch.setattr("model_server.__main__.create_engine", lambda name, options: UnusableEngine())
    assert main(LOCAL) == 2
    assert capsys.readouterr().err.strip().endswith("model server: engine echo: model: expected a folder, found none")


class ForgetfulSession(EchoSession):
    """Its context lets go of everything at once."""

    async def rollback(self, mark: Mark) -> None:
        raise MarkGone("what the mark returned to was evicted")

    async def keep_heard(self, before: Mark, keep_ms: int) -> Kept:
        raise MarkGone("what the mark returned to was evicted")


class ForgetfulEngine(EchoEngine):
    """Has such sessions."""

    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        return ForgetfulSession(config)


async def test_a_mark_that_is_gone_is_refused_and_the_session_lives() -> None:
    async with serving(ForgetfulEngine()) as server:
        gateway = await server.open("call")
        seq = await gateway.write(1, *TURNS[0])
        assert (await gateway.ask(Rollback(to_seq=0), Error)).code == "mark_gone"
        await gateway.reply("r1", seq)
        refused = await gateway.ask(Cancel(response_id="r1", keep_ms=100), Error)
        assert (refused.code, refused.response_id) == ("unknown_response", "r1")
        await gateway.write(seq + 1, *TURNS[1])
