"""Rows `echo_*`: the line check. A beep goes into the microphone and comes back; all ends are on one audio clock.

The mouth is the sample that goes into the microphone's stream, the ear the first sample above -40 dB at the player's
output, or behind the loopback connection.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from realtime.media.decoder import Samples
from tests.bench.chromium_call import LOOPBACK, MICROPHONE, PLAYER, ChromiumCall, chromium, open_page
from tests.bench.gateway import tone_gateway
from tests.bench.measurement import Measurement, Options, Repetitions

RATE = 48_000
BEEP_S = 0.1
EVERY_S = 0.437
"""Not a multiple of the 20 ms frame: a beep begins anywhere in one."""


def beep() -> Samples:
    """1 kHz, loud from its first period on."""
    time_s = np.arange(round(BEEP_S * RATE)) / RATE
    return (12_000 * np.cos(2 * np.pi * 1_000 * time_s)).astype(np.int16)


def delays(sounds: list[dict[str, Any]], ear: int) -> list[float]:
    """For each sound of the microphone the time (ms) to the next one at `ear`; none within 400 ms: not counted."""
    spoken = sorted(sound["begin"] for sound in sounds if sound["input"] == MICROPHONE)
    heard = sorted(sound["begin"] for sound in sounds if sound["input"] == ear)
    found = []
    for mouth in spoken:
        after = next((begin for begin in heard if mouth < begin < mouth + 0.4), None)
        if after is not None:
            found.append(1000 * (after - mouth))
    return found


async def beeps(call: ChromiumCall, count: int) -> list[dict[str, Any]]:
    """Beep `count` times into the line check; returns all sounds."""
    await call.send(type="session.update", session={"loopback": True})
    sound = beep()
    for _ in range(5):
        await _one(call, sound)
    await call.forget()
    for _ in range(count):
        await _one(call, sound)
    sounds: list[dict[str, Any]] = await call.bench("sounds")
    return sounds


async def _one(call: ChromiumCall, sound: Samples) -> None:
    at = await call.say(sound, RATE)
    await call.wait("until => window.__bench.context.currentTime > until", at + EVERY_S)


async def measure(options: Options) -> Repetitions:
    """Forty beeps, after five that settle the buffers."""
    async with tone_gateway() as gateway, chromium() as browser, open_page(browser, gateway.url) as call:
        await call.call()
        await call.watch()
        sounds = await beeps(call, options.times(40, 10))
    return {"echo_worklet": delays(sounds, PLAYER), "echo_ear": delays(sounds, LOOPBACK)}


MEASUREMENT = Measurement(("echo_worklet", "echo_ear"), measure)
