"""What stands around a call's core: the facts it begins with, and the port through which everything leaves it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from model_server import protocol
from model_server.protocol import Capabilities, Limits, SessionConfig
from realtime.connection.frames import AudioMessage
from realtime.dialogue.writing import SessionPort
from realtime.floor.rules import FloorRules, FloorState
from realtime.media.decoder import Samples
from realtime.session.reports import SessionError


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What a call is from its start. `started`: seconds of its clock. `seed` makes its ids.

    `recording`: what happens in it is written to a file.
    """

    call_id: str
    started: float
    seed: int
    capabilities: Capabilities
    limits: Limits
    rules: FloorRules
    greet: bool = True
    recording: bool = False


class SessionRequests(SessionPort, Protocol):
    """The model session as a call needs it; nothing here blocks."""

    @property
    def last_seq(self) -> int: ...
    def update(self, config: SessionConfig) -> None: ...


class Outside(Protocol):
    """Where a call's output goes; nothing here blocks, and nothing calls back into the core."""

    @property
    def session(self) -> SessionRequests: ...
    def send_event(self, text: str) -> None:
        """To the channel `oai-events`."""

    def send_audio(self, message: bytes) -> None:
        """To the channel `audio`."""

    def push(self, message: AudioMessage) -> None:
        """To the return track, for clients without the channel `audio`."""

    def flush(self, number: int) -> None:
        """The return track forgets the responses up to this number."""

    def audio_open(self) -> bool:
        """Whether the client's channel `audio` is open."""
        ...

    def fetch_still(self) -> None:
        """A picture of the video track is wanted: `inputs.Still`."""

    def judge_end(self, position: int, heard: Sequence[Samples], silence_ms: float) -> None:
        """Whether the turn is over whose voice ended at `position` may be told: `inputs.EndJudged`."""

    def end(self, reason: str) -> None:
        """The call is over."""

    def decided(self, old: FloorState, new: FloorState, reason: str) -> None:
        """The floor decided."""


class Ids:
    """Names for items, responses and events; the same seed gives the same names. They are no secrets."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def new(self, prefix: str) -> str:
        """Another name, e.g. `item_0123456789abcdef`."""
        return f"{prefix}_{self._random.getrandbits(64):016x}"


class StallGuard:
    """The session as the dialogue sees it; a request that the session cannot take any more is told to `on_stalled`."""

    def __init__(self, session: SessionRequests, on_stalled: Callable[[SessionError], None]) -> None:
        self._session = session
        self._on_stalled = on_stalled

    def prefill(self, item: protocol.Item) -> int:
        try:
            return self._session.prefill(item)
        except SessionError as error:
            self._on_stalled(error)
            return self._session.last_seq

    def generate(self, response_id: str, options: protocol.GenerateOptions) -> None:
        try:
            self._session.generate(response_id, options)
        except SessionError as error:
            self._on_stalled(error)

    def played(self, response_id: str, ms: int) -> None:
        self._session.played(response_id, ms)

    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None:
        self._session.cancel(response_id, keep_ms, discard=discard, rollback_to_seq=rollback_to_seq)
