"""Plays a recorded call again through the very code that took it, on the recording's clock, and compares what leaves.

The model server is not asked: requests get the answers they got, and its replies come in when they came in.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from realtime.call.core import CallCore
from realtime.call.outside import CallFacts
from realtime.media.speech import SpeechDetector
from realtime.replay.answers import Answers
from realtime.replay.log_file import LogError, LogTruncated
from realtime.replay.records import AnyRecord, Decided, Header, In, Output, Over, Raised
from realtime.replay.witness import Witness
from realtime.service.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that left otherwise than it did, `at_s` seconds into the call, because of `cause`.

    None: nothing left where something did, or something where nothing did.
    """

    at_s: float
    cause: In
    recorded: Output | None
    replayed: Output | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the floor decided `at_s` seconds into the call."""

    at_s: float
    old: str
    new: str
    reason: str


@dataclass(slots=True)
class Replayed:
    """What came of it. `call_s` took `took_s` of a processor; `incomplete` says why the log has no more."""

    difference: Difference | None = None
    decisions: list[Decision] = field(default_factory=list)
    inputs: int = 0
    outputs: int = 0
    call_s: float = 0.0
    took_s: float = 0.0
    incomplete: str = ""

    @property
    def speed(self) -> float:
        """As a multiple of real time."""
        return self.call_s / max(self.took_s, 1e-9)


def replay(records: Iterable[AnyRecord], header: Header, detector: SpeechDetector) -> Replayed:
    """Play what follows the `header`, up to the first difference. `detector` is a new one of the header's kind.

    Raises `LogError` where the records make no sense; a log that stops too early is replayed up to there.
    """
    player = _Player(header, detector)
    began = time.process_time()
    try:
        for cause, expected in _by_input(records, player.result):
            player.play(cause, expected)
            if player.result.difference is not None:
                break
    except LogTruncated as error:
        player.result.incomplete = str(error)
    player.result.took_s = time.process_time() - began
    return player.result


class _Player:
    def __init__(self, header: Header, detector: SpeechDetector) -> None:
        self.result = Replayed()
        self._started = header.started
        self._cause: In | None = None
        self._expected: deque[Output] = deque()
        outside = Witness(Answers(self._expected), self._compare)
        facts = CallFacts(
            header.call_id,
            header.started,
            header.seed,
            header.capabilities,
            header.limits,
            header.rules,
            header.greet,
            recording=True,
        )
        self._core = CallCore(facts, outside, detector, Metrics())

    def play(self, cause: In, expected: list[Output]) -> None:
        """One input, and all that left because of it."""
        self._cause = cause
        self._expected.extend(expected)
        self.result.inputs += 1
        self.result.call_s = cause.now - self._started
        try:
            self._core.handle(cause.what, cause.now)
        except Exception as error:  # An error that left the call then must leave it now, and is compared like all else.
            self._compare(Raised(type(error).__name__))
        if self._expected and self.result.difference is None:
            self._differs(self._expected[0], None)

    def _compare(self, replayed: Output) -> None:
        if self.result.difference is not None:
            return
        recorded = self._expected.popleft() if self._expected else None
        if recorded != replayed:
            self._differs(recorded, replayed)
            return
        self.result.outputs += 1
        if isinstance(replayed, Decided):
            self.result.decisions.append(Decision(self.result.call_s, replayed.old, replayed.new, replayed.reason))

    def _differs(self, recorded: Output | None, replayed: Output | None) -> None:
        assert self._cause is not None
        self.result.difference = Difference(self.result.call_s, self._cause, recorded, replayed)


def _by_input(records: Iterable[AnyRecord], result: Replayed) -> Iterator[tuple[In, list[Output]]]:
    """Each input with what left because of it."""
    cause: In | None = None
    left: list[Output] = []
    for record in records:
        if isinstance(record, In | Over):
            if cause is not None:
                yield cause, left
            cause, left = (record, []) if isinstance(record, In) else (None, [])
            if isinstance(record, Over):
                result.incomplete = record.reason
        elif isinstance(record, Header) or cause is None:
            raise LogError(f"expected an input, got a record of kind {type(record).__name__}")
        else:
            left.append(record)
