"""One timer for every deadline of a call: it never fires early, and is seldom set anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

STEP_S = 0.001
"""uvloop rounds to the nearest of these: half a step more, and a timer is never early by rounding."""

KEPT_S = 0.01
"""A timer that is early by less than this is kept: setting another costs less than waking only for a longer time."""

CallLater = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


class Timer:
    """Calls `on_time` when `due` has come. `due` is asked again whenever something may have changed it."""

    def __init__(
        self,
        due: Callable[[], float],
        on_time: Callable[[], None],
        clock: Callable[[], float],
        call_later: CallLater | None = None,
    ) -> None:
        self._due = due
        self._on_time = on_time
        self._clock = clock
        self._call_later = call_later
        self._handle: asyncio.TimerHandle | None = None
        self._at = 0.0

    def arm(self) -> None:
        """Fire when it is due now."""
        due = self._due()
        if self._handle is not None:
            if self._at <= due < self._at + KEPT_S:
                return
            self._handle.cancel()
        self._start(due)

    def cancel(self) -> None:
        """Fire no more until it is armed again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _start(self, due: float) -> None:
        self._at = due
        call_later = self._call_later or asyncio.get_running_loop().call_later
        self._handle = call_later(max(0.0, due - self._clock()) + STEP_S / 2, self._fire)

    def _fire(self) -> None:
        """What was due may have been done by now; and a busy loop counts from before its work, which is too early."""
        self._handle = None
        due = self._due()
        if self._clock() < due:
            self._start(due)
        else:
            self._on_time()
