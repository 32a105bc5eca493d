"""A process of the engine's own, spoken to over its stdin and stdout: started, supervised, replaced, ended.

The process ends when its stdin closes, so it never outlives the engine.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import structlog

from model_server.demo.pipe import HEADER_BYTES, Ready, frame, length_of
from model_server.engine import EngineFailed

START_S = 20.0
END_S = 2.0
MOST_WAITING = 64
"""Questions that may wait for an answer; one more is refused."""

_log = structlog.get_logger(__name__)


class NoAnswer(Exception):
    """A worker that did not answer; the text says why."""


class Numbered(Protocol):
    """A question or its answer."""

    number: int


AnswerT = TypeVar("AnswerT", bound=Numbered)


def own_command(module: str) -> tuple[str, ...]:
    """How to run `module` as a worker."""
    return (sys.executable, "-m", module)


@dataclass(eq=False)
class _Running(Generic[AnswerT]):
    """One process and what it owes; an answer is None where the process ended before it came."""

    process: asyncio.subprocess.Process
    answers: dict[int, asyncio.Future[AnswerT | None]] = field(default_factory=dict)
    reading: asyncio.Task[None] | None = None
    ended: bool = False

    def send(self, message: object) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        if not stdin.is_closing():
            stdin.write(frame(message))

    @property
    def unsent(self) -> int:
        """Bytes on their way to the process."""
        stdin = self.process.stdin
        assert stdin is not None
        return stdin.transport.get_write_buffer_size()


class Worker(Generic[AnswerT]):
    """Questions to one process, answers by their number. `first`: what each new process is told before anything."""

    def __init__(self, name: str, command: Sequence[str], answer: type[AnswerT], first: object, hung_s: float) -> None:
        self._name = name
        self._command = tuple(command)
        self._decoder: msgspec.msgpack.Decoder[Ready | AnswerT] = msgspec.msgpack.Decoder(Ready | answer)
        self._first = first
        self._hung_s = hung_s
        self._running: _Running[AnswerT] | None = None
        self._starting: asyncio.Task[_Running[AnswerT]] | None = None
        self._number = 0

    @property
    def next_number(self) -> int:
        """A number for the next question."""
        self._number += 1
        return self._number

    @property
    def process_id(self) -> int | None:
        """Of the process that answers now."""
        return self._running.process.pid if self._running is not None else None

    @property
    def idle(self) -> bool:
        """Whether it answers and owes nothing."""
        return self._running is not None and not self._running.ended and not self._running.answers

    async def start(self) -> None:
        """Start the process, if none answers, and wait until it does. Raises `EngineFailed`."""
        if self._answering() is None:
            await asyncio.shield(self._start())

    def tell(self, message: object, most_unsent: int) -> None:
        """Send what has no answer; dropped where more than `most_unsent` bytes are on their way, or nobody listens."""
        running = self._answering()
        if running is not None and running.unsent <= most_unsent:
            running.send(message)

    async def ask(self, question: Numbered, deadline_s: float) -> AnswerT:
        """The answer to `question`. Raises `NoAnswer`."""
        running = self._answering()
        if running is None:
            raise NoAnswer(f"the {self._name} is starting again")
        if len(running.answers) >= MOST_WAITING:
            raise NoAnswer(f"{MOST_WAITING} questions wait for the {self._name}")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[AnswerT | None] = loop.create_future()
        running.answers[question.number] = future
        hung = loop.call_later(self._hung_s, self._kill, running)
        future.add_done_callback(lambda _: hung.cancel())
        running.send(question)
        await asyncio.wait([future], timeout=deadline_s)
        if not future.done():
            raise NoAnswer(f"the {self._name} gave no answer within {deadline_s * 1000:.0f} ms")
        answer = future.result()
        if answer is None:
            raise NoAnswer(f"the {self._name} ended")
        return answer

    async def aclose(self) -> None:
        """End the process. Safe to call twice."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])
        running, self._running = self._running, None
        if running is not None:
            await _end(running)

    def _answering(self) -> _Running[AnswerT] | None:
        """The process, if it answers; one that ended is replaced in the background."""
        if self._running is not None and self._running.ended:
            self._running = None
            _log.warning("worker_restarts", worker=self._name)
            self._start()
        return self._running

    def _start(self) -> asyncio.Task[_Running[AnswerT]]:
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._launch(), name=f"{self._name} start")
            self._starting.add_done_callback(_tell_failure)
        return self._starting

    async def _launch(self) -> _Running[AnswerT]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # A Ctrl-C is for the engine, which ends its processes in order.
        )
        running: _Running[AnswerT] = _Running(process)
        try:
            running.send(self._first)
            async with asyncio.timeout(START_S):
                await self._receive(process)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            await _end(running)
            why = "it ended, and its error output says why" if isinstance(error, EOFError) else str(error) or "too slow"
            raise EngineFailed(f"the {self._name} did not start: {why}") from error
        except asyncio.CancelledError:
            await _end(running)
            raise
        running.reading = asyncio.create_task(self._read(running), name=f"{self._name} answers")
        self._running = running
        return running

    async def _receive(self, process: asyncio.subprocess.Process) -> Ready | AnswerT:
        """The next message. Raises `EOFError` at the end, `ValueError` for bytes that are none."""
        assert process.stdout is not None
        header = await process.stdout.readexactly(HEADER_BYTES)
        return self._decoder.decode(await process.stdout.readexactly(length_of(header)))

    async def _read(self, running: _Running[AnswerT]) -> None:
        """Hand out answers until the process ends."""
        try:
            while True:
                message = await self._receive(running.process)
                if isinstance(message, Ready):
                    continue
                future = running.answers.pop(message.number, None)
                if future is not None and not future.done():
                    future.set_result(message)
        except (EOFError, ValueError) as error:
            _log.info("worker_ended", worker=self._name, reason=type(error).__name__)
        finally:
            running.ended = True
            for future in running.answers.values():
                if not future.done():
                    future.set_result(None)
            running.answers.clear()
            await _end_process(running.process)

    def _kill(self, running: _Running[AnswerT]) -> None:
        _log.warning("worker_hung", worker=self._name, seconds=self._hung_s)
        if running.process.returncode is None:
            running.process.kill()


def _tell_failure(starting: asyncio.Task[Any]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        _log.error("worker_failed", error=str(error))


async def _end(running: _Running[Any]) -> None:
    if running.reading is not None:
        running.reading.cancel()
        await asyncio.wait([running.reading])
    await _end_process(running.process)


async def _end_process(process: asyncio.subprocess.Process) -> None:
    """Let the process end itself, which it does when its stdin closes, or else end it."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
