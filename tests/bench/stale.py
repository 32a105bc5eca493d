"""Rows `stale_*`: replies cut at random moments. Does anything of one come after the gateway said that it is cut?"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx

from realtime.connection.frames import AudioMessage
from tests.bench.gateway import tone_gateway
from tests.bench.measurement import Measurement, Options, Repetitions
from tests.bench.plain_call import PlainCall
from tests.bench.sound import room_packets

CALLS = 4
TEXT = ("response.output_audio_transcript.delta", "response.output_audio_transcript.times")


class Watcher:
    """Cuts the replies of one call and counts what comes of them afterwards."""

    def __init__(self, call: PlainCall, seed: int) -> None:
        self.stale_audio = self.stale_text = self.cuts = 0
        self._call = call
        self._random = random.Random(seed)
        self._cut_number = 0
        self._cut_ids: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._messages = 0
        self._news = asyncio.Event()
        call.on_event, call.on_audio = self._event, self._audio

    async def cut_reply(self) -> None:
        """Ask for a reply, cut it after a random number of messages, one of three ways; wait until it is cut."""
        before, self._messages = len(self._cut_ids), 0
        self._call.send(type="response.create")
        wanted = self._random.choice([0, 1, 2, 5, 10, 17])
        await self._until(lambda: self._messages >= wanted and bool(self._numbers.keys() - self._cut_ids))
        response_id = max(self._numbers, key=lambda each: self._numbers[each])
        match self._random.randrange(3):
            case 0:
                self._call.send(type="response.cancel", response_id=response_id)
            case 1:
                self._call.send(type="output_audio_buffer.clear")
            case _:
                self._call.send(type="response.cancel")
                self._call.send(type="output_audio_buffer.clear")
        await self._until(lambda: len(self._cut_ids) > before)
        self.cuts += 1

    def _event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "response.created":
            self._numbers[event["response"]["id"]] = event["number"]
        elif kind in TEXT and event["response_id"] in self._cut_ids:
            self.stale_text += 1
        elif kind == "output_audio_buffer.cleared" or _is_cancelled(event):
            response_id = event["response_id"] if kind == "output_audio_buffer.cleared" else event["response"]["id"]
            self._over(response_id, kind)
        self._news.set()

    def _over(self, response_id: str, kind: str) -> None:
        number = self._numbers[response_id]
        self._cut_number = max(self._cut_number, number)
        if kind == "output_audio_buffer.cleared":
            self._call.send(type="playback.ack", response_id=response_id, played_ms=0, final=True)
        else:
            self._cut_ids.add(response_id)

    def _audio(self, message: AudioMessage) -> None:
        self._messages += 1
        self.stale_audio += message.number <= self._cut_number
        self._news.set()

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(15):
            while not condition():
                self._news.clear()
                await self._news.wait()


def _is_cancelled(event: dict[str, Any]) -> bool:
    return bool(event["type"] == "response.done" and event["response"]["status"] == "cancelled")


async def cuts(url: str, seed: int, count: int) -> Watcher:
    """One call with `count` replies, all cut."""
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
        call = PlainCall(room_packets(1))
        watcher = Watcher(call, seed)
        try:
            await call.dial(client)
            for _ in range(count):
                await watcher.cut_reply()
            await asyncio.sleep(0.5)  # What is stale may still be on its way.
        finally:
            await call.hang_up(client)
    return watcher


async def measure(options: Options) -> Repetitions:
    """Four calls at once, fifty cuts each."""
    count = options.times(50, 8)
    async with tone_gateway() as gateway:
        watchers = await asyncio.gather(*(cuts(gateway.url, seed, count) for seed in range(CALLS)))
    assert all(watcher.cuts == count for watcher in watchers)
    return {
        "stale_audio": [watcher.stale_audio for watcher in watchers],
        "stale_text": [watcher.stale_text for watcher in watchers],
    }


MEASUREMENT = Measurement(("stale_audio", "stale_text"), measure)
