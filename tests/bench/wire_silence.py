"""Rows `silence_*`: what a call without pictures costs on the wire while nobody speaks, UDP and IP headers included."""

from __future__ import annotations

import time

from tests.bench.chromium_call import ChromiumCall, chromium, open_page
from tests.bench.gateway import tone_gateway
from tests.bench.measurement import Measurement, Options, Repetitions

SETTLE_MS = 3_000
WINDOW_MS = 3_000


async def kilobits(call: ChromiumCall) -> tuple[float, float]:
    """kb/s from the page and to it, over one window."""
    before, begun = await call.page.evaluate("window.__bench.wire()"), time.monotonic()
    await call.page.wait_for_timeout(WINDOW_MS)
    after, seconds = await call.page.evaluate("window.__bench.wire()"), time.monotonic() - begun
    up, down = (8 * (after[way] - before[way]) / seconds / 1000 for way in ("sent", "received"))
    return up, down


async def measure(options: Options) -> Repetitions:
    """Five windows of a call in a quiet room."""
    async with tone_gateway() as gateway, chromium() as browser, open_page(browser, gateway.url) as call:
        await call.call()
        await call.page.wait_for_timeout(SETTLE_MS)
        windows = [await kilobits(call) for _ in range(options.times(5, 2))]
    return {"silence_up": [up for up, _ in windows], "silence_down": [down for _, down in windows]}


MEASUREMENT = Measurement(("silence_up", "silence_down"), measure)
