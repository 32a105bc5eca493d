"""Row `barge_in`: the person speaks over the assistant. How long does the assistant still sound in the person's ear?

The assistant says a steady tone, the person a synthesised sentence that begins with its first sample. The ear is behind
the loopback connection: the last sample above -40 dB, or the moment the loudspeaker was muted, whichever came first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from realtime.media.decoder import Samples
from tests.bench.chromium_call import LOOPBACK, ChromiumCall, chromium, open_page
from tests.bench.gateway import tone_gateway
from tests.bench.measurement import Measurement, Options, Repetitions
from tests.realtime.voices import RATE, sentence

SAYINGS = ("wait, I want to ask you something", "no, that is not what I meant", "stop it please, that is enough")
LEVEL = 6_000
"""Root mean square of speech near a microphone."""


def saying(number: int) -> Samples:
    """One of the sentences, as loud as a person near the microphone."""
    spoken = sentence(SAYINGS[number % len(SAYINGS)]).astype(np.float32)
    gain = min(1.0, LEVEL / float(np.sqrt(np.mean(spoken**2))))
    loud: Samples = (spoken * gain).astype(np.int16)
    return loud


def stale_ms(sounds: list[dict[str, Any]], mutes: list[dict[str, Any]], spoken_at: float) -> float:
    """How long after `spoken_at` the sound that was on in the ear went on."""
    ends = [sound["end"] for sound in sounds if sound["input"] == LOOPBACK and sound["begin"] < spoken_at]
    silences = [mute["time"] for mute in mutes if mute["muted"] and mute["time"] > spoken_at]
    return float(1000 * (min([max(ends), *silences]) - spoken_at))


async def interrupt(call: ChromiumCall, number: int) -> float:
    """Let the assistant speak, speak over it, wait until it has stopped; returns how long it was stale, ms."""
    await call.forget()
    await call.send(type="response.create")
    await call.wait("() => window.__bench.arrivals.length > 60")
    spoken_at = await call.say(saying(number), RATE)
    await call.wait(
        "at => window.__bench.sounds.some(({ input, begin, end }) => input === 2 && begin < at && end > at)", spoken_at
    )
    sounds, mutes = await call.bench("sounds"), await call.bench("mutes")
    await quiet(call)
    return stale_ms(sounds, mutes, spoken_at)


async def quiet(call: ChromiumCall) -> None:
    """The answer to what was said begins, too: stop it, so that the next round starts from silence."""
    await call.wait("() => window.__bench.events.filter(({ event }) => event.type === 'response.created').length > 1")
    await call.send(type="output_audio_buffer.clear")
    await call.wait("() => window.__call.responses.every(({ final }) => final)")
    await call.page.wait_for_timeout(500)


async def measure(options: Options) -> Repetitions:
    """Twenty-one interruptions of one call, after one that settles it."""
    async with tone_gateway() as gateway, chromium() as browser, open_page(browser, gateway.url) as call:
        await call.call()
        await call.watch()
        found = [await interrupt(call, number) for number in range(1 + options.times(21, 4))]
    return {"barge_in": found[1:]}


MEASUREMENT = Measurement(("barge_in",), measure)
