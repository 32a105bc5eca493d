"""One call against the engine contract, on a real clock: units by the second, now and then a reply that is heard."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from model_server.engine import EngineSession, SpeechChunk
from model_server.protocol import GenerateOptions
from tests.bench.calls.figures import Figures
from tests.bench.calls.load import Load, last_unit, unit
from tests.bench.calls.playback import Playback

ACKNOWLEDGE_S = 0.2
"""How often a page tells what was heard."""

CREDIT_S = 5.0
"""The session asks its engine for no more speech than this ahead of the ear."""

REPLY_S = (4.0, 10.0)
"""How much of a reply is heard before the person cuts it, if it does not end before."""

LEAST_LISTENING_S = 2.0
LEAST_UNIT_S = 0.2
SPREAD = (0.7, 1.3)
"""Of the listening times, around what the share of replies asks for."""


@dataclass(slots=True)
class Ending:
    """When the trial is over: brought forward where it is lost already."""

    at: float


class Caller:
    """`clock` is the engine's. `seed`: of the moments at which this call's person begins and ends to speak."""

    def __init__(
        self,
        session: EngineSession,
        load: Load,
        figures: Figures,
        ending: Ending,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._load, self._figures, self._ending = session, load, figures, ending
        self._random, self._clock = random.Random(seed), clock
        self._number = seed
        self._at = 0.0
        """Up to when the person's sound is in units."""

    async def run(self, begin: float) -> None:
        """Call from `begin` to the ending."""
        self._at = begin + self._random.random()
        listening = self._first_listening()
        while await self._listen(listening):
            listening = self._listening(await self._hear_reply())
            self._at = max(self._at, self._clock())

    @property
    def _over(self) -> bool:
        return self._clock() >= self._ending.at

    def _first_listening(self) -> float:
        """As if the call had been going on for long: some are soon to be answered, the others within their turn."""
        share = self._load.speaking
        if not share:
            return float("inf")
        reply = sum(REPLY_S) / 2
        if self._random.random() < share:
            return self._random.uniform(0.0, LEAST_LISTENING_S)
        return self._random.random() * reply * (1 - share) / share

    def _listening(self, spoken: float) -> float:
        """Seconds up to the next reply, behind one of which so much was heard."""
        share = self._load.speaking
        return max(LEAST_LISTENING_S, spoken * (1 - share) / share * self._random.uniform(*SPREAD))

    async def _listen(self, seconds: float) -> bool:
        """Send units, the last of which ends a turn after `seconds`; whether the trial goes on."""
        ends = self._at + max(seconds, LEAST_UNIT_S)
        while self._at + 1.0 + LEAST_UNIT_S <= ends:
            self._at += 1.0
            if not await self._reached(self._at):
                return False
            await self._write(last=0.0)
        rest = min(ends - self._at, 1.0)
        self._at += rest
        if not await self._reached(self._at):
            return False
        await self._write(last=rest)
        return True

    async def _write(self, last: float) -> None:
        self._number += 1
        pictures = self._load.pictures
        item = last_unit(self._number, pictures, last) if last else unit(self._number, pictures)
        await self._session.streaming_prefill(item)
        self._figures.units.append(self._clock() - self._at)

    async def _reached(self, at: float) -> bool:
        """Wait until then; whether the trial goes on."""
        if at < self._ending.at:
            await asyncio.sleep(max(0.0, at - self._clock()))
        return at < self._ending.at

    async def _hear_reply(self) -> float:
        """Seconds that were heard of it."""
        before, playback = self._session.mark(), Playback()
        acknowledging = asyncio.create_task(self._acknowledge(playback))
        try:
            cut = await self._pull(playback)
            await asyncio.sleep(playback.ahead_s(self._clock()))
        finally:
            acknowledging.cancel()
            with suppress(asyncio.CancelledError):
                await acknowledging
        if cut:
            await self._session.keep_heard(before, int(playback.made_s * 1000))
        self._figures.heard += playback.made_s
        return playback.made_s

    async def _pull(self, playback: Playback) -> bool:
        """Take the reply as it comes; whether it was cut."""
        enough = self._random.uniform(*REPLY_S)
        chunks = self._session.streaming_generate(GenerateOptions())
        try:
            async for chunk in chunks:
                if isinstance(chunk, SpeechChunk):
                    self._take(chunk, playback)
                if playback.made_s >= enough or self._over:
                    return True
                await asyncio.sleep(max(0.0, playback.ahead_s(self._clock()) - CREDIT_S))
        finally:
            await chunks.aclose()
        return False

    def _take(self, chunk: SpeechChunk, playback: Playback) -> None:
        now = self._clock()
        if not playback.made_s:
            self._figures.first_audio.append(now - self._at)
        self._figures.piece(playback.arrived(len(chunk.pcm) // 2, now))

    async def _acknowledge(self, playback: Playback) -> None:
        while True:
            await asyncio.sleep(ACKNOWLEDGE_S)
            self._session.heard(playback.played_ms(self._clock()))
