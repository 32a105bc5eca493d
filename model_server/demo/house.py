"""What all sessions of one engine share: the script, the ear, the voice, and a thread for numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from model_server.demo.ear import Ear
from model_server.demo.matching import Matcher
from model_server.demo.script import Loaded
from model_server.demo.sight import Look, look
from model_server.demo.speech import Piece, Speaker
from model_server.demo.voice import Voice
from model_server.protocol import Capabilities

Clock = Callable[[], datetime]


@dataclass
class House:
    """`hearing_deadline_s`: the longest that an answer waits for the ear."""

    loaded: Loaded
    matcher: Matcher
    capabilities: Capabilities
    clock: Clock
    ear: Ear
    voice: Voice
    hearing_deadline_s: float
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="demo"))

    async def start(self) -> None:
        """Start everything. Raises `EngineFailed`."""
        await asyncio.gather(self.ear.start(), self.voice.start())
        await self.speak(Speaker(), "Hello.", True)

    async def speak(self, speaker: Speaker, sentence: str, last: bool) -> list[Piece]:
        """The next sentence of a response. Raises `EngineFailed`."""
        spoken = await self.voice.speak(sentence)
        return await asyncio.get_running_loop().run_in_executor(self._thread, speaker.say, sentence, spoken, last)

    async def look(self, jpeg: bytes) -> Look:
        """Look at a picture beside the event loop. Raises `ItemRejected`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, look, jpeg)

    async def aclose(self) -> None:
        """Stop everything. Safe to call twice."""
        await asyncio.gather(self.ear.aclose(), self.voice.aclose())
        self._thread.shutdown(wait=True, cancel_futures=True)
