"""What waits to be sent on one socket: bounded, because whoever fills it waits for room or answers one request each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from model_server.protocol import Reply

HIGH_WATER = 64
"""Messages (at most 48 kB of speech each) that may wait before generation and the reading of requests pause."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The socket ends with this WebSocket close code, after everything sent before."""

    code: int
    reason: str


class Outbox:
    """Messages to one socket, in order. `send` never blocks; `room` says when there is room for more."""

    def __init__(self) -> None:
        self.on_room: Callable[[], None] | None = None
        self.closing: Closing | None = None
        self._waiting: deque[Reply] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def closed(self) -> bool:
        """Nothing that is sent from now on leaves."""
        return self.closing is not None

    @property
    def has_room(self) -> bool:
        """Fewer messages wait than the high-water mark."""
        return len(self._waiting) < HIGH_WATER

    def send(self, message: Reply) -> None:
        """Add one message; dropped when the socket is closing."""
        if self.closing is not None:
            return
        self._waiting.append(message)
        self._filled.set()
        if not self.has_room:
            self._room.clear()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the socket after what waits now; the first call decides."""
        if self.closing is None:
            self.closing = Closing(code, reason)
            self._filled.set()
            self._room.set()

    async def room(self) -> None:
        """Return when fewer messages wait than the high-water mark, or the socket is closing."""
        await self._room.wait()

    async def take(self) -> Reply | Closing:
        """The next message for the socket, at last its close. For one reader."""
        while not self._waiting:
            if self.closing is not None:
                return self.closing
            self._filled.clear()
            await self._filled.wait()
        message = self._waiting.popleft()
        if self.has_room and not self._room.is_set():
            self._room.set()
            if self.on_room is not None:
                self.on_room()
        return message


class Line:
    """A session's way to its gateway, over whichever socket it has now; without one, what is sent is dropped."""

    def __init__(self) -> None:
        self._outbox = Outbox()
        self._outbox.close()
        self._changed = asyncio.Event()

    @property
    def attached(self) -> bool:
        """A socket is there."""
        return not self._outbox.closed

    @property
    def has_room(self) -> bool:
        """A socket is there and not too much waits for it."""
        return self.attached and self._outbox.has_room

    def connect(self, outbox: Outbox) -> None:
        """From now on speak through `outbox`."""
        self._outbox.on_room = None
        self._outbox = outbox
        outbox.on_room = self.nudge
        self.nudge()

    def send(self, message: Reply) -> None:
        """Add one message."""
        self._outbox.send(message)

    def close(self, code: int, reason: str) -> None:
        """End the socket after what was sent."""
        self._outbox.on_room = None
        self._outbox.close(code, reason)

    def nudge(self) -> None:
        """Something that `until` may wait for has changed."""
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; it is looked at again after each `nudge`."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()
