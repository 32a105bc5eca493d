"""What becomes of a call whose model session is slow, lost or gone: counted, told to the client, ended at last."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from realtime import events
from realtime.events import ServerEvent
from realtime.service.metrics import Metrics
from realtime.session.model_session import SessionState
from realtime.session.reports import SessionError

log = structlog.get_logger(__name__)


class Troubles:
    """One call's. `emit` sends an event to the client, `end` ends the call with a reason."""

    def __init__(
        self, call_id: str, emit: Callable[[ServerEvent], None], end: Callable[[str], None], metrics: Metrics
    ) -> None:
        self._call_id = call_id
        self._emit = emit
        self._end = end
        self._metrics = metrics
        self._pictures_dropped = 0

    def session_changed(self, state: SessionState) -> None:
        """The model session was lost, found again, or given up."""
        match state:
            case SessionState.RECOVERING:
                self._metrics.session_recoveries.labels("sought").inc()
                self._tell("model_server_lost", "The assistant is being reconnected.")
            case SessionState.CONNECTED:
                self._metrics.session_recoveries.labels("found").inc()
            case SessionState.LOST:
                self._metrics.session_recoveries.labels("given_up").inc()
                self._tell("engine_failed", "The assistant could not be reached.")
                self._end("session_lost")
            case SessionState.CLOSED:
                pass

    def pictures_dropped(self, total: int) -> None:
        """A slow engine has been spared so many pictures by now."""
        self._metrics.pictures_dropped.labels("engine_slow").inc(total - self._pictures_dropped)
        self._pictures_dropped = total
        self._tell("engine_slow", "The assistant sees less for a moment.")

    def stalled(self, error: SessionError) -> None:
        """Pictures were dropped long ago and audio never is: a call whose engine stands still has ended."""
        log.error("engine_stalled", call_id=self._call_id, error=str(error))
        self._tell("engine_failed", "The assistant does not answer any more.")
        self._end("engine_stalled")

    def _tell(self, reason: str, message: str) -> None:
        self._emit(events.SessionDegraded(reason=reason, message=message))
