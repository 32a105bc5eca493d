"""A native engine through the socket: it starts responses itself, takes units meanwhile, and is cut by the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from model_server.doubles.native import HELLO, NativeEngine, NativeSession
from model_server.engine import EngineSession, NativeChunk
from model_server.protocol import (
    Cancel,
    Cancelled,
    Done,
    Error,
    Open,
    Opened,
    Played,
    Prefill,
    Prefilled,
    Rollback,
    RolledBack,
    SessionConfig,
    Speech,
    Started,
)
from tests.model_server.samples import TURNS, unit
from tests.model_server.wire import Gateway, Server, end_ms, of_response, serve, words_of

AHEAD_MS = 400


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve(NativeEngine(), speech_ahead_ms=AHEAD_MS) as server:
        yield server


async def greeted(server: Server, session_id: str = "call") -> Gateway:
    """A call whose engine has said hello to the end."""
    gateway = await server.open(session_id)
    await gateway.say(Prefill(seq=1, item=unit(0, voiced=False)))
    started = await gateway.until(Started)
    await gateway.hear_out(started.response_id)
    assert words_of(gateway.heard) == HELLO
    return gateway


async def answered(gateway: Gateway, first_seq: int, turn: int) -> str:
    """Write a turn and hear the whole answer."""
    start = len(gateway.heard)
    await gateway.write(first_seq, *TURNS[turn])
    started = next((m for m in gateway.heard[start:] if isinstance(m, Started)), None) or await gateway.until(Started)
    if not any(isinstance(m, Done) for m in gateway.heard[start:]):
        await gateway.hear_out(started.response_id)
    return words_of(gateway.heard[start:])


async def test_it_takes_units_while_it_speaks_and_answers_afterwards(server: Server) -> None:
    gateway = await greeted(server)
    await gateway.write(2, *TURNS[0])
    started = await gateway.until(Started)
    await gateway.write(4, unit(10), unit(11, last=True))
    await gateway.hear_out(started.response_id)
    await gateway.say(Prefill(seq=6, item=unit(12, voiced=False)))
    second = await gateway.until(Started)
    assert second.response_id != started.response_id
    await gateway.hear_out(second.response_id)


async def test_it_never_yields_by_itself_and_runs_ahead_only_on_credit(server: Server) -> None:
    gateway = await greeted(server)
    await gateway.write(2, *TURNS[0])
    started = await gateway.until(Started)
    await gateway.write(4, *(unit(number) for number in range(20, 24)))
    assert await gateway.barrier(SessionConfig()) == []
    made = [end_ms(m) for m in of_response(gateway.heard, started.response_id) if isinstance(m, Speech)]
    assert AHEAD_MS <= made[-1] < AHEAD_MS + 1_000
    await gateway.say(Played(response_id=started.response_id, ms=made[-1]))
    await gateway.until(Speech)


async def test_a_cancel_undoes_the_units_that_came_meanwhile(server: Server) -> None:
    texts = []
    for name in ("subject", "control"):
        gateway = await greeted(server, name)
        await gateway.write(2, *TURNS[0])
        started = await gateway.until(Started)
        await gateway.until(Speech, lambda speech: end_ms(speech) >= AHEAD_MS)
        if name == "subject":
            await gateway.write(4, unit(10), unit(11))
        await gateway.say(Cancel(response_id=started.response_id, keep_ms=AHEAD_MS))
        answer = await gateway.until(Cancelled)
        assert answer.kept_text
        assert answer.last_seq == 3
        texts.append((answer.kept_text, answer.kv_length, await answered(gateway, 4, 1)))
        assert of_response(gateway.heard[gateway.heard.index(answer) + 1 :], started.response_id) == []
    assert texts[0] == texts[1]


class SlowSession(NativeSession):
    """Holds the fourth chunk until it is released: it is on its way when a cancel comes."""

    release: asyncio.Event

    async def native_output(self) -> AsyncGenerator[NativeChunk, None]:
        number = 0
        async with aclosing(super().native_output()) as output:
            async for spoken in output:
                number += 1
                if number == 4:
                    await self.release.wait()
                yield spoken


class SlowEngine(NativeEngine):
    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        session = SlowSession(config)
        session.release = self.release
        return session


async def test_a_chunk_on_its_way_does_not_follow_the_cancel() -> None:
    engine = SlowEngine()
    async with serve(engine, speech_ahead_ms=60_000) as server:
        gateway = await server.open()
        await gateway.say(Prefill(seq=1, item=unit(0, voiced=False)))
        started = await gateway.until(Started)
        await gateway.barrier(SessionConfig())
        answer = await gateway.ask(Cancel(response_id=started.response_id), Cancelled)
        engine.release.set()
        assert await answered(gateway, 2, 0)
        assert of_response(gateway.heard[gateway.heard.index(answer) + 1 :], started.response_id) == []


async def test_items_that_came_into_a_response_are_not_undone_alone(server: Server) -> None:
    gateway = await greeted(server)
    await gateway.write(2, *TURNS[0])
    started = await gateway.until(Started)
    await gateway.write(4, unit(10), unit(11))
    assert (await gateway.ask(Rollback(to_seq=4), Error)).code == "response_in_progress"
    await gateway.hear_out(started.response_id)
    assert (await gateway.ask(Rollback(to_seq=4), Error)).code == "mark_gone"
    assert (await gateway.ask(Rollback(to_seq=2), RolledBack)).last_seq == 2
    assert await answered(gateway, 3, 0)


async def test_say_and_own_responses_do_not_mix(server: Server) -> None:
    gateway = await greeted(server)
    await gateway.generate("say-1", 1, say="One moment please, I look it up.")
    await gateway.write(2, *TURNS[0])
    done = await gateway.hear_out("say-1")
    assert done.reason == "completed"
    start = len(gateway.heard)
    await gateway.say(Prefill(seq=4, item=unit(1, voiced=False)))
    started = await gateway.until(Started)
    await gateway.hear_out(started.response_id)
    assert "I heard" in words_of(gateway.heard[start:])


async def test_a_lost_socket_cuts_what_it_said(server: Server) -> None:
    gateway = await server.connect()
    opened = await gateway.open()
    await gateway.say(Prefill(seq=1, item=unit(0, voiced=False)))
    started = await gateway.until(Started)
    await gateway.until(Speech, lambda speech: end_ms(speech) >= AHEAD_MS)
    await gateway.peer.drop()
    resumed = await server.connect()
    heard = Played(response_id=started.response_id, ms=AHEAD_MS)
    await resumed.say(Open(resume=opened.resume_token, heard=heard))
    assert (await resumed.until(Opened)).last_seq == 1
    cut = await resumed.until(Cancelled)
    assert cut.response_id == started.response_id
    assert HELLO.startswith(cut.kept_text)
    assert cut.kept_text
    assert await answered(resumed, 2, 0)


async def test_prefilled_tells_of_every_unit_in_order(server: Server) -> None:
    gateway = await greeted(server)
    await gateway.write(2, *(unit(number) for number in range(2, 12)))
    seqs = [message.seq for message in gateway.heard if isinstance(message, Prefilled)]
    assert seqs == list(range(1, 12))
