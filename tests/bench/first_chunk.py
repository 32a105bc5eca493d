"""Row `first_chunk`: from the engine's first speech to the first sample in the page's ring buffer.

The engine for measuring writes the wall clock as its text right before its first speech; the page's audio thread notes
the wall clock when the player has taken the first message. Both run on this machine; the clock counts milliseconds.
"""

from __future__ import annotations

from tests.bench.chromium_call import ChromiumCall, chromium, open_page
from tests.bench.gateway import tone_gateway
from tests.bench.measurement import Measurement, Options, Repetitions

DELTA = "response.output_audio_transcript.delta"


async def one_reply(call: ChromiumCall) -> float:
    """Ask, wait for the first sound, stop; returns ms from engine to ring buffer."""
    await call.forget()
    await call.send(type="response.create")
    await call.wait(
        f"() => window.__bench.arrivals.length && window.__bench.events.some(({{ event }}) => event.type === '{DELTA}')"
    )
    arrived = (await call.bench("arrivals"))[0]["wall"]
    told = next(seen["event"]["delta"] for seen in await call.bench("events") if seen["event"]["type"] == DELTA)
    await call.send(type="output_audio_buffer.clear")
    await call.wait("() => window.__bench.events.some(({ event }) => event.type === 'conversation.item.truncated')")
    return float(arrived - 1000 * float(told))


async def measure(options: Options) -> Repetitions:
    """Thirty replies of one call, after two that settle it."""
    async with tone_gateway() as gateway, chromium() as browser, open_page(browser, gateway.url) as call:
        await call.call()
        await call.watch()
        found = [await one_reply(call) for _ in range(2 + options.times(30, 8))]
    return {"first_chunk": found[2:]}


MEASUREMENT = Measurement(("first_chunk",), measure)
