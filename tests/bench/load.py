"""`python -m tests.bench.load URL --calls N --speaking K`: callers in a process of their own, until its input ends.

Prints `{"event": "ready"}` when all calls are up and all wanted replies run, and what it saw when it ends. Microphones
start at different times, so that their packets do not come in one burst.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from tests.bench.plain_call import Ear, PlainCall
from tests.bench.sound import room_packets
from tests.bench.still import still

FRAME_S = 0.02
STILL_S = 1.0


@dataclass(slots=True)
class Load:
    """Callers that listen, some of which have the assistant speak. `lags`: how late packets were sent, seconds."""

    calls: int
    speaking: int
    stills: bool
    callers: list[PlainCall] = field(default_factory=list)
    ears: list[Ear] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    _started: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def dial(self, client: httpx.AsyncClient) -> None:
        """One caller after the other; those who have the assistant speak ask for it."""
        payloads = room_packets()
        for number in range(self.calls):
            call = PlainCall(payloads)
            self.callers.append(call)
            self._listen(call)
            await call.dial(client)
            if number < self.speaking:
                call.send(type="response.create")

    async def all_speaking(self) -> None:
        """Until every reply that was asked for is heard."""
        while self._started < self.speaking:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 20)

    async def talk(self) -> None:
        """Microphones, cameras and loudspeakers of all callers, until cancelled."""
        now = time.monotonic()
        jpeg = still()
        due = [(now + FRAME_S * random.random(), index) for index in range(self.calls)]
        still_due = [now + STILL_S * index / self.calls for index in range(self.calls)]
        heapq.heapify(due)
        while True:
            at, index = due[0]
            if (wait := at - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            now = time.monotonic()
            self.lags.append(now - at)
            heapq.heapreplace(due, (at + FRAME_S, index))
            if index >= len(self.callers):
                continue
            await self.callers[index].send_sound()
            self.ears[index].tick(now)
            if self.stills and now >= still_due[index]:
                still_due[index] += STILL_S
                self.callers[index].send_still(jpeg)

    def _listen(self, call: PlainCall) -> None:
        ear = Ear(call)
        self.ears.append(ear)

        def on_event(event: dict[str, Any]) -> None:
            ear.event(event)
            if event["type"] == "output_audio_buffer.started":
                self._started += 1
                self._news.set()
            elif event["type"] == "error":
                self.errors.append(event["error"])

        call.on_event = on_event
        call.on_audio = lambda message: ear.audio(message, time.monotonic())

    def seen(self) -> dict[str, Any]:
        """What the callers saw."""
        return {
            "event": "end",
            "messages": sum(ear.messages for ear in self.ears),
            "errors": self.errors[:3],
            "lag_p99_ms": round(1000 * float(np.percentile(self.lags, 99)), 1) if self.lags else 0.0,
        }


@asynccontextmanager
async def calling(load: Load, url: str) -> AsyncIterator[None]:
    """All calls up and talking; hung up at the end."""
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
        talk = asyncio.create_task(load.talk())
        try:
            await load.dial(client)
            await load.all_speaking()
            yield
        finally:
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)
            await asyncio.gather(*(call.hang_up(client) for call in load.callers))


async def run(asked: argparse.Namespace) -> None:
    """Until the input ends."""
    load = Load(asked.calls, asked.speaking, asked.stills)
    async with calling(load, asked.url):
        print(json.dumps({"event": "ready"}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(load.seen()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--speaking", type=int, default=0, help="how many have the assistant speak")
    parser.add_argument("--stills", action="store_true", help="one picture per second and call")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
