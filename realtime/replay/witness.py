"""An outside that tells what goes through it: each thing that leaves a call becomes a record, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from model_server.protocol import GenerateOptions, Item, SessionConfig
from realtime.call.outside import Outside, SessionRequests
from realtime.connection.frames import AudioMessage
from realtime.floor.rules import FloorState
from realtime.media.decoder import Samples
from realtime.replay.records import (
    NO_DIGEST,
    Asked,
    AudioOut,
    Decided,
    EndOut,
    EventOut,
    FlushOut,
    Output,
    StillOut,
    TrackOut,
    digest,
)
from realtime.session.reports import SessionError

T = TypeVar("T", bound=int | None)
_encode = msgspec.msgpack.Encoder().encode


class Witness:
    """`Outside` over another one; `keep` takes the records."""

    def __init__(self, outside: Outside, keep: Callable[[Output], None]) -> None:
        self.session: SessionRequests = SessionWitness(outside.session, keep)
        self._outside = outside
        self._keep = keep

    def send_event(self, text: str) -> None:
        self._keep(EventOut(text))
        self._outside.send_event(text)

    def send_audio(self, message: bytes) -> None:
        self._keep(AudioOut(len(message), digest(message)))
        self._outside.send_audio(message)

    def push(self, message: AudioMessage) -> None:
        self._keep(TrackOut(message.number, message.position, digest(message.pcm)))
        self._outside.push(message)

    def flush(self, number: int) -> None:
        self._keep(FlushOut(number))
        self._outside.flush(number)

    def audio_open(self) -> bool:
        is_open = self._outside.audio_open()
        self._keep(Asked("audio_open", NO_DIGEST, int(is_open)))
        return is_open

    def fetch_still(self) -> None:
        self._keep(StillOut())
        self._outside.fetch_still()

    def judge_end(self, position: int, heard: Sequence[Samples], silence_ms: float) -> None:
        self._outside.judge_end(position, heard, silence_ms)

    def end(self, reason: str) -> None:
        self._keep(EndOut(reason))
        self._outside.end(reason)

    def decided(self, old: FloorState, new: FloorState, reason: str) -> None:
        self._keep(Decided(old.value, new.value, reason))
        self._outside.decided(old, new, reason)


class SessionWitness:
    """`SessionRequests` over another one."""

    def __init__(self, session: SessionRequests, keep: Callable[[Output], None]) -> None:
        self._session = session
        self._keep = keep

    @property
    def last_seq(self) -> int:
        return self._asked("last_seq", (), lambda: self._session.last_seq)

    def prefill(self, item: Item) -> int:
        return self._asked("prefill", (item,), partial(self._session.prefill, item))

    def generate(self, response_id: str, options: GenerateOptions) -> None:
        self._asked("generate", (response_id, options), partial(self._session.generate, response_id, options))

    def played(self, response_id: str, ms: int) -> None:
        self._asked("played", (response_id, ms), partial(self._session.played, response_id, ms))

    def update(self, config: SessionConfig) -> None:
        self._asked("update", (config,), partial(self._session.update, config))

    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None:
        def cancel() -> None:
            self._session.cancel(response_id, keep_ms, discard=discard, rollback_to_seq=rollback_to_seq)

        self._asked("cancel", (response_id, keep_ms, discard, rollback_to_seq), cancel)

    def _asked(self, what: str, arguments: tuple[object, ...], ask: Callable[[], T]) -> T:
        signature = digest(_encode(arguments))
        try:
            answer = ask()
        except SessionError as error:
            self._keep(Asked(what, signature, str(error)))
            raise
        self._keep(Asked(what, signature, answer))
        return answer
