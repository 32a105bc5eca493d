"""One session's own task: opens it in the engine, takes its requests strictly in order, and frees everything.

Whoever holds the socket hands over requests by `submit`, credits by `played`, a new socket by `attach`; none of these
waits for the engine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from model_server.conversation import Conversation, SessionRequest
from model_server.engine import ConfigRejected
from model_server.house import House
from model_server.items import check_config
from model_server.outbox import Line, Outbox
from model_server.protocol import Cancelled, Close, Error, Opened, Played, Refused, SessionConfig

log = structlog.get_logger(__name__)

INBOX_BOUND = 64
"""Requests that may wait for the engine before the socket is read no further."""


FREE_S = 5.0
"""An engine that does not free a session within this time has broken; the place is given away."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A socket for the session: what it is sent goes to `outbox`; `heard` as in `Open`."""

    outbox: Outbox
    token: str
    heard: Played | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the session ends.

    `error`: the code of the `error` that says so, none when it was asked for. `refused`: the code for a socket that was
    not answered `opened` yet. `code`: the WebSocket close code.
    """

    reason: str
    message: str
    error: str = "session_ended"
    refused: str = "resume_unknown"
    code: int = 1000


CLOSED = Ending("closed", "the gateway closed the session", error="")
ABANDONED = Ending("abandoned", "the socket was lost before the session was opened")
ABORTED = Ending("aborted", "the session was stopped by force", refused="engine_failed", code=1011)
NOT_OPENED = Ending("refused", "the engine could not open a session: try another server", refused="engine_failed")

Job = SessionRequest | Close | Attachment | Ending


class SessionRunner:
    """The session `session_id` from its first socket to its end; `on_over` is told once, before it is freed."""

    def __init__(self, house: House, session_id: str, config: SessionConfig, on_over: Callable[[str], None]) -> None:
        self._house = house
        self._session_id = session_id
        self._config = config
        self._on_over = on_over
        self._line = Line()
        self._jobs: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._conversation: Conversation | None = None
        self._opened = False
        self._over = False
        self._cut: Cancelled | None = None
        """What became of the response that a lost socket ended, until a request proves that it was told."""

    # From the socket's side -----------------------------------------------------------------------------------------

    def attach(self, attachment: Attachment) -> None:
        """Answer `opened` on this socket, after what came on the last one is done, and use it from then on."""
        self._add(attachment)

    def submit(self, request: SessionRequest | Close) -> None:
        """Take one request; `room` says when to. Nothing is answered once the session is over."""
        if not self._over:
            self._add(request)

    def played(self, credit: Played) -> None:
        """Take a credit, ahead of everything else."""
        if self._conversation is not None:
            self._conversation.played(credit)

    async def room(self) -> None:
        """Return when another request may come."""
        await self._room.wait()

    def end(self, ending: Ending) -> None:
        """End the session before anything else that waits."""
        self._jobs.appendleft(ending)
        self._arrived.set()

    # The session's own task -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until an ending; returns when the engine holds nothing of the session, or refuses to let go."""
        ending = ABORTED
        try:
            ending = await self._live()
        finally:
            self._say(ending)
            if self._conversation is not None:
                async with asyncio.timeout(FREE_S):
                    await self._conversation.aclose()

    async def _live(self) -> Ending:
        try:
            check_config(self._config, self._house.engine.capabilities)
            session = await self._house.engine.open_session(self._session_id, self._config)
        except ConfigRejected as rejected:
            return Ending("refused", str(rejected), refused="invalid_config")
        except Exception as error:
            log.error("engine_open_failed", session_id=self._session_id, error=type(error).__name__)
            return NOT_OPENED
        self._conversation = Conversation(self._house, session, self._line, self._broke)
        try:
            return await self._serve(self._conversation)
        except Exception as error:
            return self._failure(error)

    async def _serve(self, conversation: Conversation) -> Ending:
        while True:
            match await self._next():
                case Ending() as ending:
                    return ending
                case Close():
                    return CLOSED
                case Attachment() as attachment:
                    if attachment.outbox.closed and not self._opened:
                        return ABANDONED
                    await self._attach(conversation, attachment)
                case request:
                    self._cut = None
                    await conversation.handle(request)

    async def _attach(self, conversation: Conversation, attachment: Attachment) -> None:
        self._cut = await conversation.cut_lost_response(attachment.heard) or self._cut
        self._line.connect(attachment.outbox)
        self._line.send(
            Opened(
                session_id=self._session_id,
                capabilities=self._house.engine.capabilities,
                limits=self._house.limits,
                version=self._house.version,
                resume_token=attachment.token,
                resumed=self._opened,
                last_seq=conversation.last_seq,
            )
        )
        if self._cut is not None:
            self._line.send(self._cut)
        conversation.tell_evicted(again=True)
        self._opened = True

    def _add(self, job: Job) -> None:
        self._jobs.append(job)
        self._arrived.set()
        if len(self._jobs) >= INBOX_BOUND:
            self._room.clear()

    async def _next(self) -> Job:
        while not self._jobs:
            self._arrived.clear()
            await self._arrived.wait()
        job = self._jobs.popleft()
        if len(self._jobs) < INBOX_BOUND:
            self._room.set()
        return job

    def _broke(self, error: BaseException) -> None:
        """The engine broke beside the requests: the session ends before the next one."""
        self.end(self._failure(error))

    def _failure(self, error: BaseException) -> Ending:
        log.error("engine_failed", session_id=self._session_id, error=type(error).__name__)
        log.debug("engine_failed_because", session_id=self._session_id, exc_info=error)
        return Ending("engine_failed", f"the engine failed ({type(error).__name__})", error="engine_failed", code=1011)

    def _say(self, ending: Ending) -> None:
        """Tell every socket that is, or would have been, the session's; none is listened to any more."""
        self._over = True
        self._room.set()
        self._on_over(self._session_id)
        self._house.metrics.sessions_ended.labels(ending.reason).inc()
        log.info("session_ended", session_id=self._session_id, reason=ending.reason)
        if ending.error:
            self._line.send(Error(code=ending.error, message=ending.message))
        self._line.close(ending.code, ending.reason)
        for job in self._jobs:
            if isinstance(job, Attachment):
                self._turn_away(job.outbox, ending)
        self._jobs.clear()

    def _turn_away(self, outbox: Outbox, ending: Ending) -> None:
        self._house.metrics.refusals.labels(ending.refused).inc()
        outbox.send(Refused(code=ending.refused, message=ending.message))
        outbox.close(1000, "refused")
