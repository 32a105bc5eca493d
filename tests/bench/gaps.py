"""Rows `gap_*`: the assistant's speech over a network that loses and delays. What does the page have to make up?

A relay on loopback stands between page and gateway and loses packets of both directions. A gap runs from one true
sample in the player to the next: what it conceals, and what it waits for.
"""

from __future__ import annotations

from playwright.async_api import Browser

from tests.bench.chromium_call import chromium, open_page
from tests.bench.gateway import Gateway, tone_gateway
from tests.bench.lossy_link import lossy_link
from tests.bench.measurement import Measurement, Options, Repetitions

LOSSES = (1, 3)
"""Per cent, each way."""

ROUND_TRIPS = (20, 100, 200)
SETTLE_MS = 2_500
LISTEN_MS = 12_000


async def gaps(browser: Browser, gateway: Gateway, loss: int, rtt_ms: int, listen_ms: int) -> list[float]:
    """Lengths (ms) of the gaps in one reply; 0 where there is none."""
    async with lossy_link(seed=100 * loss + rtt_ms) as link, open_page(browser, gateway.url, link=link) as call:
        await call.call()
        await call.watch()
        link.rtt_s = rtt_ms / 1000
        await call.page.wait_for_timeout(SETTLE_MS)  # The gateway measures the round trip by its pings.
        await call.send(type="response.create")
        await call.wait("() => window.__bench.arrivals.length > 10")
        link.loss = loss / 100
        await call.page.wait_for_timeout(listen_ms)
        found: list[float] = await call.bench("gaps")
        link.loss = 0.0
    return found or [0.0]


async def measure(options: Options) -> Repetitions:
    """One reply for each loss and round trip, one after the other: several pages would starve each other's audio."""
    listen_ms = options.times(LISTEN_MS, LISTEN_MS // 3)
    async with tone_gateway() as gateway, chromium() as browser:
        return {
            f"gap_{loss}_rtt_{rtt}": await gaps(browser, gateway, loss, rtt, listen_ms)
            for loss in LOSSES
            for rtt in ROUND_TRIPS
        }


MEASUREMENT = Measurement(tuple(f"gap_{loss}_rtt_{rtt}" for loss in LOSSES for rtt in ROUND_TRIPS), measure)
