"""One call behind the engine contract: what is computed is handed to the device thread, piece by piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from model_server.engine import (
    Chunk,
    EngineBusy,
    EngineFailed,
    EngineSession,
    Finished,
    Kept,
    Mark,
    SpeechChunk,
    TextChunk,
    TranscriptChunk,
)
from model_server.items import check_item
from model_server.minicpmo.serving.deadline import Deadline
from model_server.minicpmo.serving.device_thread import DeviceThread
from model_server.minicpmo.serving.session_settings import SessionSettings
from model_server.minicpmo.serving.speaking import Speaking
from model_server.minicpmo.serving.system_prompt import Openings
from model_server.minicpmo.serving.talk import Answer, Talk, TalkMark
from model_server.minicpmo.serving.transcribing import END_WAIT_S, Transcript
from model_server.protocol import GenerateOptions, Item, SessionConfig, Unit, Usage

Result = TypeVar("Result")

UNIT_DUE_S = 0.5
"""A second of the call has to be written before the next one comes, with something to spare."""

TURN_END_DUE_S = 0.05
"""What ends a turn is waited for."""

GUESS_DUE_S = 0.2
"""A reply that may be discarded lets the others go first."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sessions share. `read` checks settings, `preparing` runs what needs no network."""

    device: DeviceThread
    openings: Openings
    preparing: Executor
    read: Callable[[SessionConfig], SessionSettings]
    transcript_wait_s: float = END_WAIT_S
    clock: Callable[[], float] = time.monotonic


class MiniCPMOSession(EngineSession):
    """A turn-based session; all of its state is one `Talk`."""

    def __init__(self, around: Surroundings, talk: Talk) -> None:
        self._around = around
        self._talk: Talk | None = talk
        self._deadline: Deadline | None = None
        """Of the reply that is being given."""

    @property
    def kv_length(self) -> int:
        return self._open.length

    @property
    def evicted_items(self) -> int:
        return self._open.evicted_items

    async def update(self, config: SessionConfig) -> None:
        self._open.settings = self._around.read(config)

    async def streaming_prefill(self, item: Item) -> None:
        talk = self._open
        if self._deadline is not None:
            raise EngineBusy("a reply is being given: write the item after it")
        check_item(item)
        within = UNIT_DUE_S if isinstance(item, Unit) and not item.last else TURN_END_DUE_S
        due = self._around.clock() + within
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._around.preparing, talk.prepare, item)
        await self._around.device.complete(talk.write(prepared), due)

    async def append(self, role: str, text: str, engine_tokens: bytes) -> None:
        talk = self._open
        await self._around.device.complete(talk.append(role, text, engine_tokens), self._around.clock() + UNIT_DUE_S)

    def mark(self) -> Mark:
        return self._open.mark()

    async def rollback(self, mark: Mark) -> None:
        assert isinstance(mark, TalkMark)
        talk = self._open
        await self._soon(lambda: talk.rollback(mark))

    async def keep_heard(self, before: Mark, keep_ms: int) -> Kept:
        assert isinstance(before, TalkMark)
        talk = self._open
        return await self._around.device.complete(talk.keep_heard(before, keep_ms), self._around.clock())

    def heard(self, ms: int) -> None:
        if self._deadline is not None:
            self._deadline.heard(ms)

    async def aclose(self) -> None:
        self._talk = None

    async def streaming_generate(self, options: GenerateOptions) -> AsyncGenerator[Chunk, None]:
        talk, clock = self._open, self._around.clock
        if self._deadline is not None:
            raise EngineBusy("a reply is being given: ask for the next one after it")
        patience = GUESS_DUE_S if options.speculative else 0.0
        deadline = self._deadline = Deadline(clock, patience, spoken=talk.settings.speak)
        began, timings = clock(), dict[str, float]()
        transcript = self._transcript(talk, options)
        try:
            answer = await self._around.device.complete(talk.begin(options), deadline.due)
            speaking = Speaking(lambda ms: answer.session.heard(ms))
            try:
                async for chunk in self._chunks(answer, speaking, deadline):
                    _note_first(timings, chunk, clock() - began)
                    yield chunk
                    if said := transcript.take():
                        yield TranscriptChunk(said)
                if said := await transcript.last(self._around.transcript_wait_s):
                    yield TranscriptChunk(said)
            finally:
                await self._soon(lambda: talk.end(answer))
        finally:
            self._deadline = None
            await transcript.aclose()
        timings["generate"] = round((clock() - began) * 1000, 1)
        yield _finished(talk, answer, speaking, timings)

    def _transcript(self, talk: Talk, options: GenerateOptions) -> Transcript:
        """Of the turn that is answered now, if it is one and it is wanted."""
        settings, around = talk.settings, self._around
        wanted = settings.transcribe and options.say is None
        return Transcript(around.openings, around.device, talk.sounds if wanted else (), settings.prompt.language)

    async def _chunks(self, answer: Answer, speaking: Speaking, deadline: Deadline) -> AsyncGenerator[Chunk, None]:
        while (piece := await self._around.device.pull(answer.pieces, deadline.due)) is not None:
            deadline.written(piece.text)
            for chunk in speaking.chunks(piece):
                deadline.made(speaking.made_ms)
                yield chunk
        for chunk in speaking.last():
            yield chunk

    @property
    def _open(self) -> Talk:
        if self._talk is None:
            raise EngineFailed("the session is closed")
        return self._talk

    async def _soon(self, work: Callable[[], Result]) -> Result:
        """Short work that others wait for, before all that is due later."""
        return await self._around.device.run(work, self._around.clock())


def _note_first(timings: dict[str, float], chunk: Chunk, seconds: float) -> None:
    if isinstance(chunk, TextChunk):
        timings.setdefault("first_text", round(seconds * 1000, 1))
    elif isinstance(chunk, SpeechChunk):
        timings.setdefault("first_speech", round(seconds * 1000, 1))


def _finished(talk: Talk, answer: Answer, speaking: Speaking, timings: dict[str, float]) -> Finished:
    reply = answer.session.reply
    usage = Usage(input_tokens=answer.read, output_tokens=len(reply.ids), audio_ms=round(speaking.made_ms))
    return Finished("completed" if reply.completed else "length", usage, timings, talk.all_of(answer))
