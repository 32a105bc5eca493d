"""Row `leading_silence`: what the default engine says first is sent first, without silence before it.

Counted in whole milliseconds: a voice needs a fraction of one to rise above -60 dB.
"""

from __future__ import annotations

import asyncio

import httpx
import numpy as np

from realtime.connection.frames import AudioMessage
from tests.bench.measurement import Measurement, Options, Repetitions
from tests.bench.plain_call import PlainCall
from tests.bench.sound import room_packets
from tests.service import running_service

AUDIBLE = 33
"""-60 dB of full scale: below, a sample is silence."""

SAMPLES_PER_MS = 24
ASKED = ("what time is it", "what day is it today", "tell me a story", "what can you do", "who are you")


def leading_ms(messages: list[AudioMessage]) -> float:
    """Silence before the first audible sample, whole ms, of messages in any order."""
    ordered = sorted(messages, key=lambda message: message.position)
    samples = np.concatenate([np.frombuffer(message.pcm, "<i2") for message in ordered])
    audible = np.flatnonzero(np.abs(samples.astype(np.int32)) >= AUDIBLE)
    first = int(audible[0]) if len(audible) else len(samples)
    return float((ordered[0].position + first) // SAMPLES_PER_MS)


async def first_speech(call: PlainCall, text: str) -> list[AudioMessage]:
    """The first 200 ms of the answer to a typed sentence."""
    spoken: list[AudioMessage] = []
    enough = asyncio.Event()

    def keep(message: AudioMessage) -> None:
        spoken.append(message)
        if len(spoken) >= 10:
            enough.set()

    call.on_audio = keep
    content = [{"type": "input_text", "text": text}]
    call.send(type="conversation.item.create", item={"type": "message", "role": "user", "content": content})
    call.send(type="response.create")
    await asyncio.wait_for(enough.wait(), 15)
    latest = max(message.number for message in spoken)
    return [message for message in spoken if message.number == latest]


async def one_call(url: str, text: str) -> float:
    """The silence before the answer in a call of its own."""
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
        call = PlainCall(room_packets(1))
        try:
            await call.dial(client)
            return leading_ms(await first_speech(call, text))
        finally:
            await call.hang_up(client)


async def measure(options: Options) -> Repetitions:
    """Five answers of the default engine."""
    asked = ASKED[: options.times(len(ASKED), 2)]
    async with running_service("--engine", "demo") as service:
        return {"leading_silence": [await one_call(service.url, text) for text in asked]}


MEASUREMENT = Measurement(("leading_silence",), measure)
