"""A reply to a turn that is probably over: what the engine says of it waits here until it is wanted or forgotten."""

from __future__ import annotations

from enum import Enum

from model_server import protocol
from model_server.protocol import GenerateOptions
from realtime.dialogue.writing import SessionPort, Writing
from realtime.service.metrics import Metrics

Buffered = protocol.Text | protocol.Speech | protocol.Done | protocol.Transcript | protocol.Prefilled


class Taken(Enum):
    """What an answer of the model server is to the guess."""

    OTHER = "not of the guess"
    KEPT = "kept"
    FAILED = "the guess has failed"


class _Guess:
    """One guessed reply, asked for at `began_at` (seconds) to a turn whose last item is `seq`."""

    def __init__(self, response_id: str, seq: int, began_at: float) -> None:
        self.response_id = response_id
        self.replies: list[Buffered] = []
        self._seq = seq
        self._began_at = began_at
        self._done_at: float | None = None

    def take(self, reply: protocol.Reply, now: float) -> Taken:
        match reply:
            case protocol.Text() | protocol.Speech() | protocol.Done() if reply.response_id == self.response_id:
                self.replies.append(reply)
                self._done_at = now if isinstance(reply, protocol.Done) else None
            case protocol.Transcript() | protocol.Prefilled() if reply.seq == self._seq:
                self.replies.append(reply)
            case protocol.Error(response_id=self.response_id):
                return Taken.FAILED
            case _:
                return Taken.OTHER
        return Taken.FAILED if isinstance(reply, protocol.Done) and reply.reason == "failed" else Taken.KEPT

    def age_s(self, now: float) -> float:
        """How long ago it was asked for."""
        return max(0.0, now - self._began_at)

    def worked_s(self, now: float) -> float:
        """For how long the engine worked on it, at most."""
        return self.age_s(self._done_at if self._done_at is not None else now)


class Guesses:
    """The guessed reply of one call, if there is one."""

    def __init__(self, writing: Writing, session: SessionPort, metrics: Metrics) -> None:
        self._writing = writing
        self._session = session
        self._metrics = metrics
        self._guess: _Guess | None = None

    @property
    def response_id(self) -> str:
        """The guess, empty when there is none."""
        return self._guess.response_id if self._guess is not None else ""

    def begin(self, response_id: str, now: float) -> None:
        """Cut the turn and let the engine answer, unheard; what comes from now on waits."""
        self._guess = _Guess(response_id, self._writing.cut_ahead(), now)
        self._writing.held.hold()
        self._session.generate(response_id, GenerateOptions(speculative=True))

    def take(self, reply: protocol.Reply, now: float) -> Taken:
        """Keep what belongs to the guess."""
        return self._guess.take(reply, now) if self._guess is not None else Taken.OTHER

    def discard(self, response_id: str, now: float) -> None:
        """It never was: the turn goes on."""
        guess, self._guess = self._guess, None
        self._writing.take_back(response_id)
        self._metrics.guesses.labels("discarded").inc()
        if guess is not None:
            self._metrics.guess_wasted_seconds.inc(guess.worked_s(now))

    def adopt(self, now: float) -> list[Buffered]:
        """It is the reply; returns what the engine said of it so far, nothing where there is no guess."""
        guess, self._guess = self._guess, None
        if guess is None:
            return []
        self._metrics.guesses.labels("adopted").inc()
        self._metrics.guess_saved_seconds.observe(guess.age_s(now))
        return guess.replies
