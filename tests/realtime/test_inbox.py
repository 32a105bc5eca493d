"""Datagrams and messages go straight through aiortc: no task is woken for them, none is lost, all keep their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aioice.ice
import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection
from aiortc.rtcsctptransport import RTCSctpTransport

from realtime.connection.inbox import Inbox, receive_directly
from realtime.connection.run_through import run_through
from realtime.connection.sctp import QUICK_SACKS, SpeechSctpTransport, raise_window

MESSAGES = 600


@dataclass
class Line:
    """A client (aiortc as it is) and our side, joined by one channel. `came`: what our side received, in order."""

    client: RTCPeerConnection
    ours: RTCPeerConnection
    channel: RTCDataChannel
    answer: RTCDataChannel | None = None
    came: list[str | bytes] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sctp(self) -> SpeechSctpTransport:
        assert isinstance(self.ours.sctp, SpeechSctpTransport)
        return self.ours.sctp

    @property
    def inbox(self) -> Inbox:
        inbox = self.sctp.transport.transport._connection._queue
        assert isinstance(inbox, Inbox)
        return inbox

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def take(self, message: str | bytes) -> None:
        self.came.append(message)
        self.news.set()

    def opened(self, channel: RTCDataChannel) -> None:
        self.answer = channel
        channel.on("message", self.take)
        self.news.set()


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"] if use_ipv4 else [])
    client, ours = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    line = Line(client, ours, client.createDataChannel("events"))
    ours.on("datachannel", line.opened)
    await client.setLocalDescription(await client.createOffer())
    await ours.setRemoteDescription(client.localDescription)
    raise_window(ours)
    receive_directly(ours)
    await ours.setLocalDescription(await ours.createAnswer())
    await client.setRemoteDescription(ours.localDescription)
    await line.until(lambda: line.answer is not None)
    yield line
    await asyncio.gather(client.close(), ours.close())


async def test_what_comes_needs_no_task_and_keeps_its_order(line: Line) -> None:
    for number in range(MESSAGES):
        line.channel.send(f"message {number}")
    await line.until(lambda: len(line.came) == MESSAGES)
    assert line.came == [f"message {number}" for number in range(MESSAGES)]
    assert line.inbox.direct >= MESSAGES


async def test_packets_are_acknowledged_two_by_two(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send_sack = RTCSctpTransport._send_sack

    async def counted(transport: RTCSctpTransport) -> None:
        if transport is line.sctp:
            sent.append(transport._last_received_tsn or 0)
        await send_sack(transport)

    monkeypatch.setattr(RTCSctpTransport, "_send_sack", counted)
    for number in range(MESSAGES):
        line.channel.send(f"message {number}")
    await line.until(lambda: len(line.came) == MESSAGES)
    expected = QUICK_SACKS + (MESSAGES - QUICK_SACKS) / 2
    assert expected - 10 <= len(sent) <= expected + 10


async def test_the_last_packet_is_acknowledged_though_none_follows(line: Line) -> None:
    line.sctp._quick_sacks = 0
    line.channel.send("one")
    await line.until(lambda: line.came == ["one"])
    timer = line.sctp._sack_timer
    assert timer is not None
    theirs = line.client.sctp
    assert theirs is not None
    assert theirs._sent_queue
    timer.cancel()
    line.sctp._sack_waited()
    async with asyncio.timeout(10):
        while theirs._sent_queue:  # noqa: ASYNC110 - aiortc tells nobody
            await asyncio.sleep(0)


async def test_a_message_is_sent_before_the_call_returns(line: Line) -> None:
    assert line.answer is not None
    arrived = asyncio.Event()
    line.channel.on("message", lambda message: arrived.set())
    before = line.sctp._local_tsn
    line.sctp.send_at_once(line.answer, b"20 ms of speech")
    assert line.sctp._local_tsn == before + 1
    assert line.answer.bufferedAmount == 0
    await asyncio.wait_for(arrived.wait(), 10)


async def test_a_client_that_hangs_up_ends_the_connection(line: Line) -> None:
    closed = asyncio.Event()
    line.ours.on("connectionstatechange", lambda: closed.set() if line.ours.connectionState == "closed" else None)
    await line.client.close()
    await asyncio.wait_for(closed.wait(), 10)


async def test_an_error_ends_the_connection_and_not_the_loop(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(line.inbox._dtls, "_recv_next", breaks)
    closed = asyncio.Event()
    line.sctp.transport.on("statechange", closed.set)
    line.channel.send("one")
    await asyncio.wait_for(closed.wait(), 10)
    assert line.sctp.transport.state == "closed"


async def test_what_waits_is_not_run_through() -> None:
    async def waits() -> None:
        await asyncio.sleep(1)

    with pytest.raises(RuntimeError, match="waited"):
        run_through(waits())
