"""Paces the assistant's speech to the loudspeaker and knows what of it was heard. Sans-I/O.

The page's `playback.ack` is the clock (design: little to undo at a cancel, control never queues behind audio): speech
goes out at most `lead` ahead of what the page says it played, where lead = 200 ms + round trip + jitter, at most
600 ms. Without the channel `audio` (`mode="track"`) real time is the clock and no acks are expected.

Responses are spoken one after the other in the order of `begin`; the next one starts when the one before has left the
loudspeaker or was cleared. What belongs to a response that is not current any more is dropped and counted.
Positions are samples at 24 kHz, times seconds of one monotonic clock, `*_ms` milliseconds.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

from model_server.protocol import SPEECH_RATE
from realtime.connection.frames import AudioMessage
from realtime.output.heard import SAMPLES_PER_MS, AckedPosition, TrackPosition
from realtime.output.utterance import PlayoutError, PlayoutOverflow, Utterance

__all__ = ["Credit", "Ended", "Playout", "PlayoutError", "PlayoutOverflow", "PlayoutStats", "Polled"]

LEAD_MS = 200.0
MAX_LEAD_MS = 600.0
TRACK_LEAD_MS = 60.0
"""A return track paces itself: three frames in its hands keep it from running dry."""

TRACK_DELAY_MS = 100.0
"""Assumed jitter buffer and output latency of a client that reports nothing; half a round trip comes on top."""

DRY_MS = 120.0
"""With less than this (plus the round trip) left at the page, an incomplete message goes out as it is.

It covers the page's output latency, which its reports already subtract: waiting longer would make a gap.
"""

CREDIT_S = 0.2
SILENT_PAGE_S = 1.0
"""A page that owes the last report for so long is taken to have played everything."""

MAX_WAITING = 4
"""Responses that may wait for the one being spoken."""

MAX_REMEMBERED = 8
"""Past responses whose reports are still understood."""


class Polled(NamedTuple):
    """What to send now, and when to poll again at the latest (None: after the next call of any other method)."""

    messages: list[AudioMessage]
    deadline: float | None


class Credit(NamedTuple):
    """What `Played` tells the model server."""

    response_id: str
    ms: int


class Ended(NamedTuple):
    """A response has left the loudspeaker; `heard_ms` of it was heard."""

    response_id: str
    heard_ms: float


@dataclass(slots=True)
class PlayoutStats:
    """Counts over the life of a call."""

    messages: int = 0
    stale: int = 0
    """Chunks of speech that came for a response that was not current any more."""
    acks_ignored: int = 0
    """Reports from the future, the past or about unknown responses."""
    pages_silent: int = 0
    """Responses whose last report never came."""


class Playout:
    """Paces one call's speech. Every method takes the time; after each, `poll` says what to send."""

    def __init__(
        self,
        *,
        mode: Literal["acks", "track"] = "acks",
        lead_ms: float | None = None,
        max_lead_ms: float = MAX_LEAD_MS,
    ) -> None:
        self.stats = PlayoutStats()
        self._tracked = mode == "track"
        self._base_lead_ms = lead_ms if lead_ms is not None else (TRACK_LEAD_MS if self._tracked else LEAD_MS)
        self._max_lead_ms = max_lead_ms
        self._rtt_ms = 0.0
        self._jitter_ms = 0.0
        self._waiting: deque[Utterance] = deque()
        """The one being spoken, then those that follow it."""
        self._past: OrderedDict[str, Utterance] = OrderedDict()
        self._ended: list[Ended] = []
        self._paused = False
        self._credit_at = float("-inf")
        self._last_credit: Credit | None = None
        self._last_number = 0

    @property
    def reported(self) -> bool:
        """Whether the client says what it played; else all that is heard is an estimate."""
        return not self._tracked

    @property
    def speaking(self) -> str | None:
        """The response whose turn it is to be spoken."""
        return self._waiting[0].response_id if self._waiting else None

    # What the engine says ------------------------------------------------------------------------------------------

    def begin(self, response_id: str, number: int, now: float) -> None:
        """A response begins; `number` is its number on the channel and grows from response to response.

        Raises `PlayoutError` for a number or an id that was used, `PlayoutOverflow` when too many wait.
        """
        if number <= self._last_number:
            raise PlayoutError(f"response numbers grow: expected more than {self._last_number}, got {number}")
        if self._find(response_id) is not None:
            raise PlayoutError(f"response {response_id} has already begun")
        if len(self._waiting) > MAX_WAITING:
            raise PlayoutOverflow(f"{MAX_WAITING} responses wait to be spoken already: clear one first")
        position = TrackPosition() if self._tracked else AckedPosition(self._rtt_ms / 1000)
        self._waiting.append(Utterance(response_id, number, position, now))
        self._last_number = number

    def speech(self, response_id: str, position: int, pcm: bytes, now: float) -> bool:
        """The next speech, PCM16 LE mono 24 kHz; its first sample stands at `position` of the response.

        False when the response is not current any more. Raises `PlayoutError` for a gap, an overlap, half a sample or
        speech after `finish`, and `PlayoutOverflow` beyond 6 s of unsent speech.
        """
        utterance = self._current(response_id)
        if utterance is None:
            self.stats.stale += 1
            return False
        utterance.add(position, pcm)
        return True

    def finish(self, response_id: str, now: float) -> None:
        """The engine is done with this response: what is buffered is all there is."""
        utterance = self._current(response_id)
        if utterance is None:
            self.stats.stale += 1
        else:
            utterance.finish(now)

    # What the floor decides ----------------------------------------------------------------------------------------

    def pause(self, now: float) -> None:
        """Send nothing more; the page falls silent and keeps what it has."""
        if not self._paused and self._waiting:
            self._waiting[0].position.hold(now)
            self._paused = True

    def resume(self, now: float, from_ms: float | None = None) -> None:
        """Go on where it paused, or `from_ms` of the response on, which was played before."""
        if self._paused:
            utterance = self._waiting[0]
            if from_ms is not None:
                utterance.rewind(from_ms * SAMPLES_PER_MS, now, self._delay)
            utterance.position.resume(now)
            utterance.touched_at = now
            self._paused = False

    def clear(self, response_id: str, now: float) -> None:
        """Send nothing of this response any more, ever. A response that is over or unknown is no error.

        It does not appear in `ended`. A pause ends with the response it belongs to.
        """
        utterance = self._current(response_id)
        if utterance is None:
            return
        if utterance is self._waiting[0]:
            self._paused = False
        self._waiting.remove(utterance)
        self._remember(utterance, utterance.heard(now, self._delay))

    # What the page says --------------------------------------------------------------------------------------------

    def ack(self, response_id: str, played_ms: float, final: bool, now: float) -> bool:
        """The page has played `played_ms` of a response; `final`: it will not play more of it.

        Reports are also taken for a response that was cleared: its last one says what was heard. False when the report
        is impossible or for nothing we know: it is counted and changes nothing.
        """
        utterance = self._find(response_id)
        if utterance is None or not utterance.take_report(played_ms * SAMPLES_PER_MS, now):
            self.stats.acks_ignored += 1
            return False
        # Before everything was sent only a clear can be final: else it is a report like any other.
        utterance.final = final and (utterance.all_sent or utterance.is_past)
        return True

    def set_rtt(self, rtt_ms: float, jitter_ms: float = 0.0) -> None:
        """The measured round trip to the client and how much it varies."""
        self._rtt_ms, self._jitter_ms = max(0.0, rtt_ms), max(0.0, jitter_ms)

    # What to do ----------------------------------------------------------------------------------------------------

    def poll(self, now: float) -> Polled:
        """What to send at `now` and when to ask again."""
        messages: list[AudioMessage] = []
        while self._waiting and not self._paused:
            utterance = self._waiting[0]
            messages += utterance.due(now, self._lead, self._dry)
            over_at = self._over_at(utterance)
            if over_at is None or now < over_at:
                break
            self._end(utterance)
        self.stats.messages += len(messages)
        return Polled(messages, self._deadline(now))

    def credit(self, now: float) -> Credit | None:
        """What the model server is due to be told about the response being spoken, news only, at most every 200 ms.

        Ask with every `poll`: while an engine waits for credit there is speech to send, so `poll` has a deadline.
        """
        if now < self._credit_at or not self._waiting or self._waiting[0].finished:
            return None
        self._credit_at = now + CREDIT_S
        utterance = self._waiting[0]
        credit = Credit(utterance.response_id, int(utterance.heard(now, self._delay) / SAMPLES_PER_MS))
        if credit == self._last_credit or not credit.ms:
            return None
        self._last_credit = credit
        return credit

    def ended(self) -> list[Ended]:
        """Responses that have left the loudspeaker since the last call; `poll` finds them."""
        ended, self._ended = self._ended, []
        return ended

    def heard_ms(self, response_id: str, now: float) -> float:
        """How much of a response has left the loudspeaker; 0 for one that is unknown."""
        utterance = self._find(response_id)
        return 0.0 if utterance is None else utterance.heard(now, self._delay) / SAMPLES_PER_MS

    def playing_ms(self, response_id: str, now: float) -> float:
        """Where in a response the loudspeaker is, as the page says: less than was heard while it says a word again."""
        utterance = self._find(response_id)
        if utterance is None or utterance.is_past:
            return self.heard_ms(response_id, now)
        return max(0.0, utterance.position.playing(now) - self._delay) / SAMPLES_PER_MS

    # ---------------------------------------------------------------------------------------------------------------

    @property
    def _lead(self) -> float:
        spread = 0.0 if self._tracked else self._rtt_ms + self._jitter_ms
        return min(self._max_lead_ms, self._base_lead_ms + spread) * SAMPLES_PER_MS

    @property
    def _dry(self) -> float:
        left_ms = TRACK_LEAD_MS / 2 if self._tracked else DRY_MS + self._rtt_ms
        return min(left_ms * SAMPLES_PER_MS, self._lead)

    @property
    def _delay(self) -> float:
        """Samples between our estimate and the loudspeaker of a client that reports nothing."""
        return (self._rtt_ms / 2 + TRACK_DELAY_MS) * SAMPLES_PER_MS if self._tracked else 0.0

    def _current(self, response_id: str) -> Utterance | None:
        return next((utterance for utterance in self._waiting if utterance.response_id == response_id), None)

    def _find(self, response_id: str) -> Utterance | None:
        return self._current(response_id) or self._past.get(response_id)

    def _over_at(self, utterance: Utterance) -> float | None:
        """When it counts as played to its end; None while that cannot be said."""
        if utterance.is_silent or (utterance.final and utterance.all_sent):
            return float("-inf")
        if not utterance.complete:
            return None
        end = utterance.position.end
        if isinstance(utterance.position, AckedPosition):
            owed = (end - utterance.position.acked) / SPEECH_RATE
            return utterance.touched_at + owed + self._rtt_ms / 1000 + SILENT_PAGE_S
        reached = utterance.position.when(end)
        return None if reached is None else reached + self._delay / SPEECH_RATE

    def _end(self, utterance: Utterance) -> None:
        self._waiting.popleft()
        heard = float(utterance.position.end)
        if isinstance(utterance.position, AckedPosition) and utterance.final:
            heard = max(utterance.position.most, utterance.position.acked)
        elif not self._tracked and not utterance.is_silent:
            self.stats.pages_silent += 1
        self._remember(utterance, heard)
        self._ended.append(Ended(utterance.response_id, heard / SAMPLES_PER_MS))

    def _remember(self, utterance: Utterance, heard: float) -> None:
        utterance.freeze(heard)
        self._past[utterance.response_id] = utterance
        while len(self._past) > MAX_REMEMBERED:
            self._past.popitem(last=False)

    def _deadline(self, now: float) -> float | None:
        if not self._waiting or self._paused:
            return None
        utterance = self._waiting[0]
        times = (utterance.next_due(now, self._lead, self._dry), self._over_at(utterance))
        return min((at for at in times if at is not None), default=None)
