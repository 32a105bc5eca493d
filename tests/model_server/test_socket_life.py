"""Sessions and their sockets over time: lines, losses, takeovers, ends; and engines that break."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog.testing

from model_server.doubles.echo import EchoEngine
from model_server.outbox import HIGH_WATER
from model_server.protocol import (
    Cancel,
    Cancelled,
    Close,
    Done,
    Draining,
    Error,
    Evicted,
    Generate,
    Open,
    Opened,
    Played,
    Prefill,
    Prefilled,
    Queued,
    Refused,
    Rollback,
    RolledBack,
    SessionConfig,
    Speech,
    Started,
    Text,
    Update,
)
from model_server.runner import INBOX_BOUND
from tests.model_server.broken_engines import SECRET, BrokenEngine, JealousEngine
from tests.model_server.samples import TURNS, unit
from tests.model_server.wire import AppPeer, Server, serve, words_of


async def settle(server: Server) -> None:
    """Let everything that can happen now happen: answers to a socket of its own come in order behind it."""
    probe = await server.connect("probe")
    for _ in range(20):
        await probe.ask(Rollback(to_seq=0), Error)
    await probe.peer.drop()


# The waiting line ---------------------------------------------------------------------------------------------------


async def test_full_means_refused_or_in_line() -> None:
    async with serve(EchoEngine(), max_sessions=1, max_waiting=2) as server:
        first = await server.open("first")
        second, third, fourth = [await server.connect(name) for name in ("second", "third", "fourth")]
        assert (await second.ask(Open(wait=True), Queued)).place == 1
        assert (await third.ask(Open(wait=True), Queued)).place == 2
        assert (await fourth.ask(Open(wait=True), Refused)).code == "server_full"
        assert (await (await server.connect("fifth")).ask(Open(), Refused)).retry_after > 0
        assert (await second.ask(Prefill(seq=1, item=unit(1)), Error)).code == "not_open"
        assert (await second.ask(Open(wait=True), Error)).code == "already_open"
        await first.say(Close())
        assert (await second.until(Opened)).session_id == "second"
        assert (await third.until(Queued)).place == 1
        await second.write(1, *TURNS[0])
        await third.say(Close())
        assert (await third.closed()).code == 1000
        await settle(server)
        assert server.host.table.waiting_count == 0


async def test_a_lost_socket_leaves_the_line() -> None:
    async with serve(EchoEngine(), max_sessions=1) as server:
        await server.open("first")
        second, third = await server.connect("second"), await server.connect("third")
        await second.ask(Open(wait=True), Queued)
        await third.ask(Open(wait=True), Queued)
        await second.peer.drop()
        assert (await third.until(Queued)).place == 1


async def test_the_engine_limits_the_sessions() -> None:
    class Small(EchoEngine):
        @property
        def max_sessions(self) -> int:
            return 2

    async with serve(Small(), max_sessions=50) as server:
        opened = await (await server.connect("a")).open()
        assert opened.limits.max_sessions == 2
        await server.open("b")
        assert (await (await server.connect("c")).ask(Open(), Refused)).code == "server_full"


async def test_who_waits_for_a_starting_engine_gets_in_when_it_is_ready() -> None:
    engine = BrokenEngine("start hangs")
    async with serve(engine, wait_ready=False) as server:
        hasty, patient = await server.connect("hasty"), await server.connect("patient")
        assert (await hasty.ask(Open(), Refused)).code == "not_ready"
        await patient.ask(Open(wait=True), Queued)
        engine.release.set()
        await patient.until(Opened)


# Loss, resume, takeover ---------------------------------------------------------------------------------------------


async def test_a_session_outlives_its_socket() -> None:
    async with serve(EchoEngine(), resume_s=30.0) as server:
        gateway = await server.connect()
        opened = await gateway.open()
        await gateway.write(1, unit(1), unit(2))
        await gateway.peer.drop()
        server.pass_time(29.0)
        resumed = await server.connect()
        answer = await resumed.open(resume=opened.resume_token)
        assert (answer.resumed, answer.last_seq) == (True, 2)
        await resumed.write(3, unit(3))


async def test_a_session_that_is_not_resumed_is_freed() -> None:
    async with serve(EchoEngine(), resume_s=30.0) as server:
        gateway = await server.connect()
        opened = await gateway.open()
        await gateway.peer.drop()
        server.pass_time(30.0)
        await server.host.emptied()
        late = await server.connect()
        assert (await late.ask(Open(resume=opened.resume_token), Refused)).code == "resume_unknown"
        await server.open()


async def test_requests_that_arrived_before_the_loss_are_done() -> None:
    async with serve(EchoEngine()) as server:
        gateway = await server.connect()
        opened = await gateway.open()
        for seq in (1, 2, 3):
            await gateway.say(Prefill(seq=seq, item=unit(seq)))
        await gateway.say(Generate(response_id="r1", after_seq=3))
        await gateway.peer.drop()
        resumed = await server.connect()
        assert (await resumed.open(resume=opened.resume_token)).last_seq == 3
        assert (await resumed.until(Cancelled)).kept_text == ""


async def test_a_cut_that_was_not_told_is_told_again() -> None:
    async with serve(EchoEngine(), speech_ahead_ms=500) as server:
        gateway = await server.connect()
        opened = await gateway.open()
        seq = await gateway.write(1, *TURNS[0])
        await gateway.generate("r1", seq)
        await gateway.until(Speech)
        await gateway.peer.drop()
        deaf = await server.connect()
        assert isinstance(deaf.peer, AppPeer)
        deaf.peer.listening.clear()
        await deaf.say(Open(resume=opened.resume_token, heard=Played(response_id="r1", ms=300)))
        await settle(server)
        await deaf.peer.drop()
        resumed = await server.connect()
        assert (await resumed.open(resume=opened.resume_token)).last_seq == seq
        kept = (await resumed.until(Cancelled)).kept_text
        assert kept
        assert (await resumed.ask(Cancel(response_id="r1"), Error)).code == "unknown_response"


async def test_the_right_token_takes_over_a_living_socket() -> None:
    async with serve(EchoEngine()) as server:
        old = await server.connect()
        opened = await old.open()
        await old.write(1, unit(1))
        for resume in (None, "wrong"):
            intruder = await server.connect()
            assert (await intruder.ask(Open(resume=resume), Refused)).code == "session_in_use"
        new = await server.connect()
        assert (await new.open(resume=opened.resume_token)).last_seq == 1
        assert (await old.closed()).reason == "another socket took over"
        await new.write(2, unit(2))


async def test_a_replaced_socket_is_not_listened_to() -> None:
    async with serve(EchoEngine()) as server:
        old = await server.connect()
        opened = await old.open()
        assert isinstance(old.peer, AppPeer)
        old.peer.listening.clear()
        new = await server.connect()
        await new.open(resume=opened.resume_token)
        await old.say(Prefill(seq=1, item=unit(1)))
        await settle(server)
        assert (await new.ask(Rollback(to_seq=0), RolledBack)).kv_length == 0
        old.peer.listening.set()


async def test_a_socket_that_is_gone_before_the_engine_opened_leaves_nothing() -> None:
    engine = BrokenEngine("open waits")
    async with serve(engine) as server:
        gateway = await server.connect()
        await gateway.say(Open())
        await settle(server)
        await gateway.peer.drop()
        engine.release.set()
        await server.host.emptied()
        assert [session.closed for session in engine.opened] == [True]


# Ends ---------------------------------------------------------------------------------------------------------------


async def test_an_idle_session_ends_in_words() -> None:
    async with serve(EchoEngine(), idle_s=300.0) as server:
        gateway = await server.open()
        server.pass_time(200.0)
        await gateway.write(1, unit(1))
        server.pass_time(299.0)
        await gateway.write(2, unit(2))
        server.pass_time(300.0)
        error = await gateway.until(Error)
        assert (error.code, error.message) == ("session_ended", "no message for 300 s")
        assert (await gateway.closed()).code == 1000
        await server.host.emptied()


async def test_draining_tells_waits_and_ends() -> None:
    async with serve(EchoEngine()) as server:
        gateway = await server.open()
        server.host.drain(10.0)
        assert (await gateway.until(Draining)).deadline_s == 10.0
        await gateway.write(1, unit(1))
        assert (await (await server.connect("new")).ask(Open(wait=True), Refused)).code == "draining"
        server.pass_time(10.0)
        assert (await gateway.until(Error)).code == "session_ended"
        await server.host.emptied()


async def test_a_hundred_sessions_leave_nothing() -> None:
    async with serve(EchoEngine(), max_sessions=8, idle_s=100_000.0) as server:
        await server.open("constant")
        tasks = len(asyncio.all_tasks())
        for number in range(100):
            gateway = await server.open(f"call-{number}")
            seq = await gateway.write(1, *TURNS[number % 4])
            await gateway.generate("r", seq)
            if number % 3:
                await gateway.say(Close())
                await gateway.closed()
            else:
                await gateway.peer.drop()
                server.pass_time(30.0)
                await settle(server)
        await settle(server)
        assert server.host.table.open_count == 1
        assert len(asyncio.all_tasks()) <= tasks


# Engines that break -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["prefill fails", "prefill breaks"])
async def test_an_engine_that_breaks_while_writing_ends_the_session(how: str) -> None:
    await _expect_engine_failed(how, Prefill(seq=1, item=unit(1)))


@pytest.mark.parametrize(
    "how", ["generate fails", "generate breaks", "odd speech", "long speech", "span beyond the text", "no end"]
)
async def test_an_engine_that_breaks_while_speaking_ends_the_session(how: str) -> None:
    await _expect_engine_failed(how, Generate(response_id="r1", after_seq=0))


async def _expect_engine_failed(how: str, request: Any) -> None:
    engine = BrokenEngine(how)
    with structlog.testing.capture_logs() as logs:
        async with serve(engine) as server:
            gateway, other = await server.open(), await server.open("other")
            await gateway.say(request)
            error = await gateway.until(Error)
            assert error.code == "engine_failed"
            assert SECRET not in error.message
            assert (await gateway.closed()).code == 1011
            await settle(server)
            assert engine.opened[0].closed
            assert not engine.opened[1].closed
            await other.ask(Rollback(to_seq=0), RolledBack)
            await server.open()
    loud = [entry for entry in logs if entry["log_level"] != "debug"]
    assert SECRET not in str(loud)
    assert "engine_failed" in [entry["event"] for entry in loud]


async def test_an_engine_that_cannot_open_refuses() -> None:
    async with serve(BrokenEngine("open breaks")) as server:
        gateway = await server.connect()
        refused = await gateway.ask(Open(), Refused)
        assert refused.code == "engine_failed"
        assert SECRET not in refused.message
        await server.host.emptied()


async def test_a_response_the_engine_rejects_fails_alone() -> None:
    async with serve(BrokenEngine("generate rejects")) as server:
        gateway = await server.open()
        await gateway.write(1, unit(1))
        await gateway.say(Generate(response_id="r1", after_seq=1))
        await gateway.until(Started)
        error = await gateway.until(Error)
        assert (error.code, error.response_id) == ("invalid_item", "r1")
        assert (await gateway.until(Done)).reason == "failed"
        assert (await gateway.ask(Cancel(response_id="r1"), Error)).code == "unknown_response"
        await gateway.write(2, unit(2))


@pytest.mark.parametrize("how", ["prefill hangs", "generate hangs"])
async def test_an_engine_that_hangs_is_abandoned(how: str) -> None:
    engine = BrokenEngine(how)
    async with serve(engine) as server:
        gateway = await server.open()
        hangs = {
            "prefill hangs": Prefill(seq=1, item=unit(1)),
            "generate hangs": Generate(response_id="r", after_seq=0),
        }
        await gateway.say(hangs[how])
        await gateway.say(Rollback(to_seq=0))
        await settle(server)
        server.pass_time(300.0)
        await settle(server)
        server.pass_time(5.0)
        await server.host.emptied()
        assert engine.opened[0].closed
        await gateway.closed()


def prefills(server: Server) -> float:
    """How many items were written."""
    return server.host.house.metrics.registry.get_sample_value("model_server_prefill_ms_count") or 0.0


def speech_chunks(server: Server) -> float:
    """How many chunks of speech all engines of the server gave."""
    return server.host.house.metrics.registry.get_sample_value("model_server_speech_ahead_ms_count") or 0.0


async def test_calls_to_an_engine_session_never_overlap() -> None:
    """Settings, cancels and units that come in the middle of a chunk wait for its end."""
    async with serve(JealousEngine(), speech_ahead_ms=60_000) as server:
        gateway = await server.open()
        seq = await gateway.write(1, *TURNS[0])
        for number in range(20):
            await gateway.say(Generate(response_id=f"r{number}", after_seq=seq))
            for _ in range(number % 7):
                await gateway.hear()
            await gateway.say(Update(config=SessionConfig()))
            await gateway.say(Prefill(seq=seq + 1, item=unit(1)))
            await gateway.say(Cancel(response_id=f"r{number}", keep_ms=100, discard=bool(number % 2)))
            await gateway.until(Cancelled)
            await gateway.say(Rollback(to_seq=0))
            await gateway.until(RolledBack)
            seq = await gateway.write(1, *TURNS[0])
        assert words_of(await gateway.reply("last", seq))
        assert not any(isinstance(message, Error) for message in gateway.heard)


# Bounds -------------------------------------------------------------------------------------------------------------


async def test_a_peer_that_does_not_listen_stops_its_own_reply_only() -> None:
    async with serve(EchoEngine(), speech_ahead_ms=60_000) as server:
        deaf, other = await server.open("deaf"), await server.open("other")
        seq = await deaf.write(1, *(unit(number) for number in range(1, 30)))
        assert isinstance(deaf.peer, AppPeer)
        deaf.peer.listening.clear()
        await deaf.say(Generate(response_id="r1", after_seq=seq))
        counts = [-1.0, 0.0]
        while counts[-1] != counts[-2]:
            await settle(server)
            counts.append(speech_chunks(server))
        assert HIGH_WATER / 2 < counts[-1] <= HIGH_WATER
        assert words_of(await other.reply("r1", await other.write(1, *TURNS[0])))
        deaf.peer.listening.set()
        await deaf.hear_out("r1")
        assert speech_chunks(server) > 2 * HIGH_WATER


async def test_a_peer_that_only_talks_is_read_no_further() -> None:
    async with serve(EchoEngine()) as server:
        gateway = await server.open()
        assert isinstance(gateway.peer, AppPeer)
        gateway.peer.listening.clear()
        for seq in range(1, 1_001):
            await gateway.say(Prefill(seq=seq, item=unit(1)))
        counts = [-1.0, 0.0]
        while counts[-1] != counts[-2]:
            await settle(server)
            counts.append(prefills(server))
        assert counts[-1] <= HIGH_WATER + INBOX_BOUND
        gateway.peer.listening.set()
        await gateway.until(Prefilled, lambda answer: answer.seq == 1_000)


async def test_evicted_items_are_told_and_told_again() -> None:
    async with serve(EchoEngine()) as server:
        gateway = await server.connect()
        opened = await gateway.open()
        seq = 0
        while not any(isinstance(message, Evicted) for message in gateway.heard):
            seq = await gateway.write(seq + 1, unit(seq, pictures=8))
            await gateway.barrier(SessionConfig(), 1)
        evicted = next(message for message in gateway.heard if isinstance(message, Evicted))
        assert 0 < evicted.up_to_seq < seq
        await gateway.peer.drop()
        resumed = await server.connect()
        await resumed.open(resume=opened.resume_token)
        assert await resumed.hear() == evicted


async def test_answers_keep_the_order_of_the_requests() -> None:
    async with serve(EchoEngine()) as server:
        gateway = await server.open()
        for seq in range(1, 101):
            await gateway.say(Prefill(seq=seq, item=unit(1)))
        await gateway.say(Update(config=SessionConfig()))
        await gateway.say(Generate(response_id="r1", after_seq=100))
        done = await gateway.until(Text)
        assert done.start == 0
        seqs = [message.seq for message in gateway.heard if isinstance(message, Prefilled)]
        assert seqs == list(range(1, 101))


# What operators see -------------------------------------------------------------------------------------------------


async def test_metrics_count_what_happened() -> None:
    async with serve(EchoEngine(), max_sessions=1) as server:
        gateway = await server.open()
        seq = await gateway.write(1, *TURNS[0])
        await gateway.reply("r1", seq)
        await gateway.ask(Cancel(response_id="r1", keep_ms=500), Cancelled)
        await gateway.ask(Cancel(response_id="r1"), Error)
        await (await server.connect("other")).ask(Open(), Refused)
        text = server.host.house.metrics.text().decode()
        for line in (
            "model_server_sessions_open 1.0",
            "model_server_prefill_ms_count 2.0",
            'model_server_responses_total{end="completed"} 1.0',
            'model_server_cancels_total{speech="keep"} 1.0',
            'model_server_refusals_total{code="server_full"} 1.0',
            'model_server_errors_total{code="unknown_response"} 1.0',
        ):
            assert line in text, text
        assert "call" not in {label for line in text.splitlines() for label in line.split('"')}
