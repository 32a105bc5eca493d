"""The one thread that launches the network's work; whose turn it is, is decided by what is due first.

Work of one session is handed over piece by piece, each awaited before the next. Replies share their passes through the
network (`model_server.minicpmo.scheduling.batcher`), and between two passes whatever is due earlier gets its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from model_server.engine import EngineFailed
from model_server.minicpmo.replies.steps import Step, Steps
from model_server.minicpmo.scheduling.batcher import Batcher, Running
from model_server.minicpmo.scheduling.together import Failed, Outcome

Result = TypeVar("Result")

JOIN_S = 5.0
"""Work that takes longer is left behind when the thread is closed."""


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    work: Callable[[], Any] = field(compare=False)
    done: Future[Any] = field(compare=False)


@dataclass(eq=False, slots=True)
class _Pull:
    running: Running[Any]
    due: float
    done: Future[Any]


def _made(steps: Generator[Step[Any], Any, Result]) -> Steps[tuple[Result]]:
    """Steps, and what they come to."""
    yield ((yield from steps),)


class DeviceThread:
    """Runs work by its due time, in seconds of any clock; equal ones in the order in which they came.

    An exception of the work is its caller's. What is no `Exception`, or `is_fatal`, ends the thread: all who wait, and
    all who come later, get `EngineFailed`.
    """

    def __init__(self, is_fatal: Callable[[Exception], bool] = lambda error: False) -> None:
        self._is_fatal = is_fatal
        self.batcher = Batcher()
        """Of its counts anybody may read."""
        self.busy_s = 0.0
        """Seconds that the thread has worked so far."""
        self._jobs: list[_Job] = []
        self._pulls: list[_Pull] = []
        self._pulled: set[Future[Any]] = set()
        """Of what the batcher runs."""
        self._count = 0
        self._changed = threading.Condition()
        self._closing = False
        self._death: Future[str] = Future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="network", daemon=True)

    def start(self) -> None:
        """Begin to take work."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Pieces of work that wait for their turn."""
        return len(self._jobs) + len(self._pulls) + self.batcher.waiting

    async def run(self, work: Callable[[], Result], due: float) -> Result:
        """What `work` returns. One that is cancelled before its turn is left out; one that runs, runs to its end."""
        done: Future[Result] = Future()
        with self._changed:
            self._check_open()
            self._count += 1
            heapq.heappush(self._jobs, _Job(due, self._count, work, done))
            self._changed.notify()
        return await asyncio.wrap_future(done)

    async def pull(self, running: Running[Result], due: float) -> Result | None:
        """What `running` makes next, None behind the last of it or when it is closed."""
        done: Future[Any] = Future()
        with self._changed:
            self._check_open()
            self._pulls.append(_Pull(running, due, done))
            self._changed.notify()
        return cast("Result | None", await asyncio.wrap_future(done))

    async def complete(self, steps: Generator[Step[Any], Any, Result], due: float) -> Result:
        """What steps come to; between two of them others have their turn. If this is cancelled they are given up."""
        running = Running(_made(steps))
        try:
            found = await self.pull(running, due)
        except asyncio.CancelledError:
            with contextlib.suppress(EngineFailed):
                await self.run(running.close, 0.0)
            raise
        assert found is not None, "nobody else closes it"
        return found[0]

    def _check_open(self) -> None:
        if self._death.done() or self._closing:
            raise EngineFailed(self._death.result() if self._death.done() else "the engine is closed")

    async def death(self) -> str:
        """Return why the thread ended, as soon as it did by an error."""
        return await asyncio.shield(asyncio.wrap_future(self._death))

    async def aclose(self) -> None:
        """Leave out what waits, let what runs come to its end. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._refuse("the engine is closed")
        if self._thread.is_alive():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(JOIN_S):
                    await asyncio.shield(asyncio.wrap_future(self._ended))

    # On the thread --------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while self._wait():
                begun = time.perf_counter()
                self._turn()
                self.busy_s += time.perf_counter() - begun
        except BaseException as error:
            reason = f"the network's thread ended: {type(error).__name__}: {' '.join(str(error).split())}"
            with self._changed:
                self._death.set_result(reason)
            self._refuse(reason)
        finally:
            self._ended.set_result(None)

    def _wait(self) -> bool:
        """Wait for something to do; whether there is going to be more."""
        with self._changed:
            while not (self._jobs or self._pulls or self.batcher.waiting or self._closing):
                self._changed.wait()
            return not self._closing

    def _turn(self) -> None:
        """One job, or one pass that replies share."""
        with self._changed:
            pulls, self._pulls = self._pulls, []
            self._pulled.update(pull.done for pull in pulls)
            due = min((self.batcher.due, *(pull.due for pull in pulls)))
            job = heapq.heappop(self._jobs) if self._jobs and self._jobs[0].due <= due else None
        if job is not None:
            self._do(job)
        for pull in pulls:
            self._begin(pull)
        if job is None:
            self.batcher.tick()

    def _begin(self, pull: _Pull) -> None:
        if not pull.done.set_running_or_notify_cancel():
            self._pulled.discard(pull.done)
            return
        self.batcher.pull(pull.running, pull.due, lambda outcome: self._tell(pull.done, outcome))

    def _tell(self, done: Future[Any], outcome: Outcome) -> None:
        self._pulled.discard(done)
        if not isinstance(outcome, Failed):
            done.set_result(outcome)
            return
        fatal = self._is_fatal(outcome.error)
        done.set_exception(EngineFailed(str(outcome.error)) if fatal else outcome.error)
        if fatal:
            raise outcome.error

    def _do(self, job: _Job) -> None:
        if not job.done.set_running_or_notify_cancel():
            return
        try:
            result = job.work()
        except Exception as error:
            fatal = self._is_fatal(error)
            job.done.set_exception(EngineFailed(str(error)) if fatal else error)
            if fatal:
                raise
        except BaseException as error:
            job.done.set_exception(EngineFailed(f"{type(error).__name__} on the network's thread"))
            raise
        else:
            job.done.set_result(result)

    def _refuse(self, reason: str) -> None:
        with self._changed:
            jobs, self._jobs = self._jobs, []
            pulls, self._pulls = self._pulls, []
            begun, self._pulled = self._pulled, set()
        for done in (*(job.done for job in jobs), *(pull.done for pull in pulls)):
            if done.set_running_or_notify_cancel():
                done.set_exception(EngineFailed(reason))
        for done in begun:
            if not done.done():
                done.set_exception(EngineFailed(reason))
