"""The outside of a call that is played again: it swallows what leaves, and answers what was answered then."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from model_server.protocol import GenerateOptions, Item, SessionConfig
from realtime.connection.frames import AudioMessage
from realtime.floor.rules import FloorState
from realtime.media.decoder import Samples
from realtime.replay.records import Asked, Output
from realtime.session.reports import SessionError


class Answers:
    """`Outside` and its session in one. `expected`: what left then, the next one first; it is only looked at."""

    def __init__(self, expected: deque[Output]) -> None:
        self._expected = expected

    @property
    def session(self) -> Answers:
        return self

    # What is answered -----------------------------------------------------------------------------------------------

    @property
    def last_seq(self) -> int:
        return self._number("last_seq")

    def audio_open(self) -> bool:
        return bool(self._number("audio_open"))

    def prefill(self, item: Item) -> int:
        return self._number("prefill")

    def generate(self, response_id: str, options: GenerateOptions) -> None:
        self._answer("generate")

    def played(self, response_id: str, ms: int) -> None:
        self._answer("played")

    def update(self, config: SessionConfig) -> None:
        self._answer("update")

    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None:
        self._answer("cancel")

    def _number(self, what: str) -> int:
        answer = self._answer(what)
        return answer if isinstance(answer, int) else 0

    def _answer(self, what: str) -> int | None:
        """What it was; anything for a question that was not asked then, which is a difference anyway."""
        then = self._expected[0] if self._expected else None
        if not isinstance(then, Asked) or then.what != what:
            return None
        if isinstance(then.answer, str):
            raise SessionError(then.answer)
        return then.answer

    # What is swallowed ----------------------------------------------------------------------------------------------

    def send_event(self, text: str) -> None:
        """Compared already."""

    def send_audio(self, message: bytes) -> None:
        """Compared already."""

    def push(self, message: AudioMessage) -> None:
        """Compared already."""

    def flush(self, number: int) -> None:
        """Compared already."""

    def fetch_still(self) -> None:
        """The picture comes when it came."""

    def judge_end(self, position: int, heard: Sequence[Samples], silence_ms: float) -> None:
        """The opinion comes when it came."""

    def end(self, reason: str) -> None:
        """The log ends when it ended."""

    def decided(self, old: FloorState, new: FloorState, reason: str) -> None:
        """Compared already."""
