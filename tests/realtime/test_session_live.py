"""The session on real sockets: the real model server and its echo engine, killed in mid-call, and servers that lie."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from websockets.asyncio.server import ServerConnection, serve

from model_server.doubles.echo import EchoEngine
from model_server.protocol import (
    Cancelled,
    Done,
    Error,
    GenerateOptions,
    Item,
    PictureItem,
    Prefilled,
    Reply,
    SessionConfig,
    Speech,
    Text,
    encode,
)
from realtime.session.model_session import (
    ModelServerGarbage,
    ModelServerUnavailable,
    ModelSession,
    SessionRefused,
    SessionState,
)
from realtime.session.socket import Address as Where
from realtime.session.socket import Connect, Wire, connect_websocket
from tests.model_server.samples import TURNS
from tests.model_server.test_live_server import live
from tests.model_server.wire import TOKEN


@dataclass
class Address:
    """Where the server is now; a test may move it."""

    url: str
    token: str = TOKEN
    ssl: None = None


class Caller:
    """A call that talks with the server in turns."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.states: list[SessionState] = []
        self._changed = asyncio.Event()

    def on_reply(self, reply: Reply) -> None:
        self.replies.append(reply)
        self._changed.set()

    def on_busy(self, seq: int, item: object) -> None:
        raise AssertionError(f"item {seq} was not taken")

    def on_state(self, state: SessionState, reason: str) -> None:
        self.states.append(state)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def of(self, response_id: str) -> list[Reply]:
        return [reply for reply in self.replies if getattr(reply, "response_id", None) == response_id]

    def text(self, response_id: str) -> str:
        return "".join(reply.text for reply in self.of(response_id) if isinstance(reply, Text))

    async def take_turn(self, session: ModelSession, items: Sequence[Item], response_id: str) -> str:
        """Write a turn and hear all of the answer."""
        for item in items:
            session.prefill(item)
        session.generate(response_id)
        await self.until(lambda: any(isinstance(reply, Done) for reply in self.of(response_id)))
        assert self.of(response_id)[-1].reason == "completed"  # type: ignore[union-attr]
        return self.text(response_id)

    async def cut(self, session: ModelSession, response_id: str, keep_ms: int) -> str:
        session.cancel(response_id, keep_ms)
        await self.until(lambda: isinstance(self.replies[-1], Cancelled))
        cancelled = self.replies[-1]
        assert isinstance(cancelled, Cancelled)
        return cancelled.kept_text


@asynccontextmanager
async def calling(address: Address, connect: Connect = connect_websocket) -> AsyncIterator[tuple[ModelSession, Caller]]:
    caller = Caller()
    session = await ModelSession.open(address, "call", SessionConfig(seed=1), caller, connect=connect)
    try:
        yield session, caller
    finally:
        await session.close()


@asynccontextmanager
async def echo() -> AsyncIterator[Address]:
    async with live(EchoEngine()) as server:
        yield Address(f"ws://127.0.0.1:{server.port}")


@asynccontextmanager
async def process() -> AsyncIterator[tuple[Address, asyncio.subprocess.Process]]:
    """A model server that can be killed like any other process."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "model_server", "--engine", "echo", "--port", "0", "--die-with-stdin"),
        env={**os.environ, "MODEL_SERVER_TOKEN": TOKEN},
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        assert server.stdout is not None
        listening = json.loads(await server.stdout.readline())
        yield Address(f"ws://127.0.0.1:{listening['port']}"), server
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


async def conversation(address: Address, between: Callable[[], Awaitable[None]]) -> list[str]:
    """Two turns, the first reply cut, something between, and a third turn: all that was said."""
    async with calling(address) as (session, caller):
        first = await caller.take_turn(session, TURNS[1], "r1")
        kept = await caller.cut(session, "r1", 900)
        second = await caller.take_turn(session, TURNS[2], "r2")
        await between()
        third = await caller.take_turn(session, TURNS[3], "r3")
        assert first.startswith(kept)
        assert kept
        return [kept, second, third]


async def nothing() -> None:
    return


async def test_a_server_killed_in_mid_call_is_replaced_and_what_is_said_afterwards_is_the_same() -> None:
    async with echo() as address:
        undisturbed = await conversation(address, nothing)
        async with process() as (moving, server):

            async def kill() -> None:
                server.kill()
                await server.wait()
                moving.url = address.url

            assert await conversation(moving, kill) == undisturbed


async def test_ten_wrong_guesses_change_nothing_that_is_said_afterwards() -> None:
    async with echo() as address:
        undisturbed = await conversation(address, nothing)
        async with calling(address) as (session, caller):
            await caller.take_turn(session, TURNS[1], "r1")
            await caller.cut(session, "r1", 900)
            await caller.take_turn(session, TURNS[2], "r2")
            before = session.last_seq
            for number in range(10):
                for item in TURNS[0]:
                    session.prefill(item)
                session.generate(f"guess{number}", GenerateOptions(speculative=True))
                if number % 2:
                    await caller.until(lambda name=f"guess{number}": bool(caller.text(name)))  # type: ignore[misc]
                session.cancel(f"guess{number}", discard=True, rollback_to_seq=before)
            assert await caller.take_turn(session, TURNS[3], "r3") == undisturbed[2]
            assert all(reply.spare for reply in caller.replies if isinstance(reply, Prefilled))


async def test_a_lost_socket_is_resumed_and_what_is_said_afterwards_is_the_same() -> None:
    async with echo() as address:
        undisturbed = await conversation(address, nothing)
        wires: list[Wire] = []

        async def connect(where: Where, session_id: str) -> Wire:
            wires.append(await connect_websocket(where, session_id))
            return wires[-1]

        async with calling(address, connect) as (session, caller):
            await caller.take_turn(session, TURNS[1], "r1")
            await caller.cut(session, "r1", 900)
            await caller.take_turn(session, TURNS[2], "r2")
            await wires[0].close()
            await caller.until(lambda: caller.states[-1:] == [SessionState.CONNECTED])
            assert await caller.take_turn(session, TURNS[3], "r3") == undisturbed[2]
            assert (session.stats.resumed, session.stats.replayed) == (1, 0)


async def test_a_reply_that_dies_with_its_server_ends_and_the_talk_goes_on() -> None:
    async with echo() as address, process() as (moving, server), calling(moving) as (session, caller):
        for item in TURNS[0] + TURNS[0] + TURNS[0] + TURNS[0]:
            session.prefill(item)
        session.generate("r1")
        await caller.until(lambda: any(isinstance(reply, Speech) for reply in caller.of("r1")))
        server.kill()
        await server.wait()
        moving.url = address.url
        await caller.until(lambda: any(isinstance(reply, Done) for reply in caller.of("r1")))
        assert caller.of("r1")[-1] == Done(response_id="r1", reason="failed")
        assert "I heard 2.00 seconds" in await caller.take_turn(session, TURNS[0], "r2")
        assert caller.states == [SessionState.RECOVERING, SessionState.CONNECTED]
        assert session.stats.replayed == 1


async def test_a_picture_that_is_none_is_told_with_its_number() -> None:
    async with echo() as address, calling(address) as (session, caller):
        session.prefill(TURNS[0][0])
        session.prefill(PictureItem(jpeg=b"no picture"))
        session.prefill(TURNS[0][1])
        await caller.until(lambda: any(isinstance(r, Prefilled) and r.seq == 3 for r in caller.replies))
        (error,) = [reply for reply in caller.replies if isinstance(reply, Error)]
        assert (error.code, error.seq) == ("invalid_item", 2)


async def test_a_wrong_token_is_told() -> None:
    async with echo() as address:
        address.token = "wrong"
        with pytest.raises(ModelServerUnavailable, match=r"HTTP 403.*check its token"):
            async with calling(address):
                pass


async def test_a_session_in_use_is_refused() -> None:
    async with echo() as address, calling(address):
        with pytest.raises(SessionRefused) as refused:
            async with calling(address):
                pass
        assert refused.value.code == "session_in_use"


async def test_nobody_listening_is_told() -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    with pytest.raises(ModelServerUnavailable, match="cannot be reached"):
        async with calling(Address(f"ws://127.0.0.1:{port}")):
            pass


async def test_what_is_no_address_is_told() -> None:
    with pytest.raises(ModelServerUnavailable, match="cannot be reached"):
        async with calling(Address("http://127.0.0.1:1")):
            pass


@pytest.mark.parametrize("answer", ["hello", b"\x00\x01", encode(Prefilled(seq=1, kv_length=0, ms=0))])
async def test_a_server_that_speaks_another_protocol_is_told(answer: str | bytes) -> None:
    async def lie(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(answer)
        await connection.wait_closed()

    async with serve(lie, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(ModelServerGarbage):
            async with calling(Address(f"ws://127.0.0.1:{port}")):
                pass


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.session.socket.ANSWER_TIMEOUT_S", 0.01)

    async def keep_silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(keep_silent, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(ModelServerUnavailable, match="not answered `open`"):
            async with calling(Address(f"ws://127.0.0.1:{port}")):
                pass


async def test_an_open_session_says_what_it_is() -> None:
    async with echo() as address, calling(address) as (session, _):
        assert session.capabilities.engine == "echo"
        assert session.limits.marks == 16
        assert session.last_seq == 0
