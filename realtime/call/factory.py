"""Makes calls: opens a session at the model server, then the call around it. Admission before any peer connection."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from aiortc import RTCIceServer

from model_server import protocol
from model_server.protocol import SessionConfig
from realtime.call.call import Call, CallParts
from realtime.call.outside import CallFacts
from realtime.connection.peer import prepare_connections
from realtime.floor.rules import FloorRules
from realtime.floor.turn_end_model import TurnEndModel
from realtime.media.speech import DetectorName, DetectorPool, SpeechDetector, create_detector
from realtime.replay.recorder import Recorder
from realtime.replay.recording import Recording
from realtime.service.metrics import Metrics
from realtime.service.settings import Settings
from realtime.service.upstream import ModelServer
from realtime.session.model_session import ModelSession, SessionRefused, SessionState
from realtime.web.refusals import CallRefused, ServerFull

READY_TIMEOUT_S = 10.0
"""A caller who is early waits so long for the engine."""

WARM_DETECTORS = 2


class SessionRelay:
    """Hands what a session tells to the call that is made around it."""

    def __init__(self) -> None:
        self.call: Call | None = None

    def on_reply(self, reply: protocol.Reply) -> None:
        if self.call is not None:
            self.call.on_reply(reply)

    def on_busy(self, seq: int, item: protocol.Item | protocol.Append) -> None:
        if self.call is not None:
            self.call.on_busy(seq, item)

    def on_state(self, state: SessionState, reason: str) -> None:
        if self.call is not None:
            self.call.on_state(state, reason)


class SessionCalls:
    """`realtime.web.admission.CallFactory` over a model server."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        model_server: ModelServer,
        turn_end_model: TurnEndModel | None = None,
    ) -> None:
        prepare_connections(loopback_candidates=settings.loopback_candidates)
        self._metrics = metrics
        self._model_server = model_server
        self._turn_end_model = turn_end_model
        self._floor = settings.floor
        self._greet = settings.greeting
        self._ice_servers = [
            RTCIceServer(urls=server.urls, username=server.username, credential=server.credential)
            for server in settings.ice_servers
        ]
        self._detector_name: DetectorName = settings.detector
        self._detectors = DetectorPool(settings.detector)
        self._detectors.warm(WARM_DETECTORS)
        self._recorder = Recorder(settings.record_events) if settings.record_events is not None else None

    async def open(self, call_id: str, on_queued: Callable[[int, float], None] | None = None) -> Call:
        """A call with an open session. Raises `ServerFull`, `ModelServerUnavailable`, `CallRefused`."""
        await self._model_server.wait_ready(READY_TIMEOUT_S)
        relay = SessionRelay()
        try:
            session = await ModelSession.open(self._model_server, call_id, SessionConfig(), relay, on_queued=on_queued)
        except SessionRefused as refused:
            if refused.code == "server_full":
                raise ServerFull(refused.retry_after or 5.0) from refused
            raise CallRefused(refused.code, str(refused), retry_after=refused.retry_after) from refused
        try:
            detector = await self._detector()
        except BaseException:
            await session.close()
            raise
        relay.call = self._around(call_id, session, detector)
        return relay.call

    def _around(self, call_id: str, session: ModelSession, detector: SpeechDetector) -> Call:
        facts = CallFacts(
            call_id,
            asyncio.get_running_loop().time(),
            secrets.randbits(64),
            session.capabilities,
            session.limits,
            self._rules(session),
            greet=self._greet,
            recording=self._recorder is not None,
        )
        parts = CallParts(
            session,
            self._ice_servers,
            detector,
            self._detectors.give_back,
            self._record(facts, detector),
            self._turn_end_model,
        )
        return Call(facts, parts, self._metrics, asyncio.get_running_loop().time)

    def _record(self, facts: CallFacts, detector: SpeechDetector) -> Recording | None:
        if self._recorder is None:
            return None
        return self._recorder.begin(facts, detector)

    async def _detector(self) -> SpeechDetector:
        """A detector that waits, else a new one, loaded beside the loop because that takes 100 ms."""
        if self._detectors.idle:
            return self._detectors.take()
        return await asyncio.to_thread(create_detector, self._detector_name)

    def _rules(self, session: ModelSession) -> FloorRules:
        native = session.capabilities.turn_taking == "native"
        return FloorRules(**self._floor.model_dump(), native=native)
