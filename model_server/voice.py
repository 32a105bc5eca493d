"""Pulls a session's responses out of its engine, one chunk at a time, and sends them.

The next chunk is asked for only with credit (`played`), with room in the socket's outbox, and with a socket: so every
engine obeys the same flow control, and a cancel takes effect at the current chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

from model_server.engine import (
    Chunk,
    EngineBusy,
    EngineError,
    EngineFailed,
    EngineSession,
    Mark,
    NativeChunk,
    SpeechChunk,
)
from model_server.house import House
from model_server.ledger import Ledger
from model_server.outbox import Line
from model_server.protocol import Done, Error, Started
from model_server.speaking import RunningResponse

EngineTurn = Callable[[], AbstractAsyncContextManager[object]]
"""Makes the context in which a call to the engine session is alone."""


class Voice:
    """The responses of one session: at most one runs at a time. `on_failure` hears of an engine that broke."""

    def __init__(
        self,
        house: House,
        session: EngineSession,
        ledger: Ledger,
        line: Line,
        engine_turn: EngineTurn,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.running: RunningResponse | None = None
        self._house = house
        self._session = session
        self._ledger = ledger
        self._line = line
        self._engine_turn = engine_turn
        self._on_failure = on_failure
        self._pulling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        if not house.turn_based:
            self._listening = asyncio.create_task(self._listen(session.native_output()), name="native output")

    def begin(self, response_id: str, after_seq: int, before: Mark) -> RunningResponse:
        """A response begins; `before` is the mark to return to."""
        self._ledger.began_response(response_id, before, after_seq)
        limit, engine = self._house.limits.speech_ahead_ms, self._house.engine.speech_ahead_ms
        self.running = RunningResponse(response_id, after_seq, limit, engine)
        self._line.send(Started(response_id=response_id))
        return self.running

    async def generate(self, running: RunningResponse, chunks: AsyncGenerator[Chunk, None]) -> None:
        """Pull `chunks` beside whatever comes next."""
        if self._pulling is not None:
            await self._pulling
        self._pulling = asyncio.create_task(self._pull(running, chunks), name="response")

    def played(self, response_id: str, ms: int) -> None:
        """Credit of the person's ear; counted when it is for no running response."""
        if self.running is None or self.running.response_id != response_id:
            self._house.metrics.played_ignored.inc()
            return
        self.running.heard(ms)
        self._session.heard(self.running.played_ms)
        self._line.nudge()

    async def stop(self) -> None:
        """End the running response at its current chunk; nothing of it is sent from now on."""
        if self.running is not None:
            self.running.stopped = True
            self.running = None
            self._house.metrics.responses.labels("stopped").inc()
        self._line.nudge()
        if self._pulling is not None:
            await self._pulling
            self._pulling = None

    async def aclose(self) -> None:
        """Stop and free everything, an engine that hangs included."""
        if self.running is not None:
            self.running.stopped = True
        for task in (self._listening, self._pulling):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _pull(self, running: RunningResponse, chunks: AsyncGenerator[Chunk, None]) -> None:
        try:
            try:
                await self._say_all(running, chunks)
            finally:
                async with self._engine_turn():
                    await chunks.aclose()
        except EngineFailed as error:
            self._on_failure(error)
        except EngineError as error:
            self._give_up(running, error)
        except Exception as error:
            self._on_failure(error)

    async def _say_all(self, running: RunningResponse, chunks: AsyncGenerator[Chunk, None]) -> None:
        while True:
            await self._line.until(lambda: running.stopped or (self._line.has_room and running.has_credit))
            if running.stopped:
                return
            async with self._engine_turn():
                chunk = await anext(chunks, None)
            if running.stopped:
                return
            if chunk is None:
                raise EngineFailed("the engine ended a response without saying that it is finished")
            if self._say(running, chunk):
                return

    def _say(self, running: RunningResponse, chunk: Chunk) -> bool:
        """Send one chunk; True when it was the last."""
        message = running.message(chunk)
        self._line.send(message)
        if isinstance(chunk, SpeechChunk):
            self._house.metrics.speech_ahead_ms.observe(running.ahead_ms)
        if not isinstance(message, Done):
            return False
        self._ended(running, message.reason)
        return True

    def _ended(self, running: RunningResponse, how: str) -> None:
        self._ledger.ended_response(running.response_id)
        self._house.metrics.responses.labels(how).inc()
        self.running = None

    def _give_up(self, running: RunningResponse, error: EngineError) -> None:
        """The engine refused this response, which left the session as it was."""
        if running.stopped:
            return
        code = "response_in_progress" if isinstance(error, EngineBusy) else "invalid_item"
        self._ledger.never_began(running.response_id)
        self._line.send(Error(code=code, message=str(error), response_id=running.response_id))
        self._line.send(Done(response_id=running.response_id, reason="failed"))
        self._house.metrics.responses.labels("failed").inc()
        self.running = None

    # Native engines -------------------------------------------------------------------------------------------------

    async def _listen(self, output: AsyncGenerator[NativeChunk, None]) -> None:
        try:
            async with aclosing(output):
                while True:
                    await self._line.until(self._may_listen)
                    spoken = await anext(output, None)
                    if spoken is None:
                        return
                    self._hear(spoken)
        except Exception as error:
            self._on_failure(error)

    def _may_listen(self) -> bool:
        return self._line.has_room and (self.running is None or self.running.has_credit)

    def _hear(self, spoken: NativeChunk) -> None:
        running = self.running
        if running is None or running.response_id != spoken.response_id:
            if spoken.before is None:
                return  # The rest of a response that was cancelled while its next chunk was on its way.
            running = self.begin(spoken.response_id, spoken.items, spoken.before)
        self._say(running, spoken.chunk)
