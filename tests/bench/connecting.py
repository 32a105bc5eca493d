"""Rows `connect_*`: from the click to connected and listening, Chromium on loopback, permission granted."""

from __future__ import annotations

from tests.bench.chromium_call import chromium, open_page
from tests.bench.gateway import tone_gateway
from tests.bench.measurement import Measurement, Options, Repetitions


async def measure(options: Options) -> Repetitions:
    """Thirty calls, each on a page of its own, after one that warms the browser."""
    waits: list[float] = []
    async with tone_gateway() as gateway, chromium() as browser:
        for _ in range(1 + options.times(30, 5)):
            async with open_page(browser, gateway.url) as call:
                waits.append(await call.call())
                await call.hang_up()
    return {"connect_p50": waits[1:], "connect_p95": waits[1:]}


MEASUREMENT = Measurement(("connect_p50", "connect_p95"), measure)
