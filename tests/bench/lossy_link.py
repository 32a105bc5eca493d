"""A network between a page and the gateway: a UDP relay on loopback that loses and delays what passes, both ways."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from playwright.async_api import BrowserContext, Route

Address = tuple[str, int]
CANDIDATE = re.compile(r"^a=candidate:.*\r\n", re.MULTILINE)
FIRST_PORT = re.compile(r"^a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+) typ host", re.MULTILINE | re.IGNORECASE)


class _End(asyncio.DatagramProtocol):
    """One socket of the relay: hands what comes to the link."""

    def __init__(self, link: LossyLink) -> None:
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._link.pass_on(self, data, addr)

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])


class LossyLink:
    """`loss` (share, each way) and `rtt_s` (half of it each way) may change while packets pass."""

    def __init__(self, seed: int) -> None:
        self.loss = 0.0
        self.rtt_s = 0.0
        self.passed = self.lost = 0
        self._random = random.Random(seed)
        self._page: Address | None = None
        self._gateway: Address | None = None
        self.page_end = _End(self)
        self.gateway_end = _End(self)

    async def open(self) -> None:
        """Take the two ports."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self.page_end, local_addr=("127.0.0.1", 0))
        await loop.create_datagram_endpoint(lambda: self.gateway_end, local_addr=("127.0.0.1", 0))

    def close(self) -> None:
        self.page_end.transport.close()
        self.gateway_end.transport.close()

    def pass_on(self, came_in: _End, data: bytes, addr: Address) -> None:
        """A packet came: lose it, or send it on later."""
        if came_in is self.page_end:
            self._page = addr
        if self._random.random() < self.loss:
            self.lost += 1
            return
        self.passed += 1
        asyncio.get_running_loop().call_later(self.rtt_s / 2, self._deliver, came_in, data)

    def _deliver(self, came_in: _End, data: bytes) -> None:
        out, to = (self.gateway_end, self._gateway) if came_in is self.page_end else (self.page_end, self._page)
        if to is not None and not out.transport.is_closing():
            out.transport.sendto(data, to)

    async def join(self, context: BrowserContext) -> None:
        """Put the link between the pages of this context and their gateway."""
        await context.route("**/v1/realtime/calls", self._signal)

    async def _signal(self, route: Route) -> None:
        offer = route.request.post_data or ""
        answer = await route.fetch(post_data=_with_candidate(offer, self.gateway_end.port))
        text = await answer.text()
        found = FIRST_PORT.search(text)
        if found is None:
            await route.fulfill(response=answer)
            return
        self._gateway = ("127.0.0.1", int(found[1]))
        await route.fulfill(response=answer, body=_with_candidate(text, self.page_end.port))


@asynccontextmanager
async def lossy_link(seed: int) -> AsyncIterator[LossyLink]:
    """A link, without loss and delay at first."""
    link = LossyLink(seed)
    await link.open()
    try:
        yield link
    finally:
        link.close()


def _with_candidate(sdp: str, port: int) -> str:
    """The description with one candidate: the relay."""
    ours = f"a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\n"
    first = CANDIDATE.search(sdp)
    if first is None:
        return sdp + ours
    bare = CANDIDATE.sub("", sdp)
    return bare[: first.start()] + ours + bare[first.start() :]
