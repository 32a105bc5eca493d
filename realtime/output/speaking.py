"""What goes out of one call: each response as events for the client and as speech for its loudspeaker.

`Speaking` joins the two so that they cannot disagree: it knows every response by id, tells its events in order, paces
its speech, and says what was heard. It decides nothing; the floor does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from model_server.protocol import Done, Speech, Text
from realtime import events
from realtime.connection.frames import AudioMessage
from realtime.dialogue.response_events import ResponseEvents
from realtime.events import ServerEvent
from realtime.media.bands import Bands
from realtime.output.playout import Credit, Ended, Playout
from realtime.output.reference import Reference
from realtime.output.restart import WordStarts

QUESTION_MARKS = ("?", "？", "؟")

REMEMBERED = 16
"""Responses whose item a client may still truncate."""


class Speaking:
    """One call's output. `emit` sends an event, `transmit` 20 ms of speech, `flush` forgets what was transmitted of
    the responses up to a number; all return at once.

    `new_playout` is asked when the first response begins: only then is it known whether the client opened `audio`.
    """

    def __init__(
        self,
        emit: Callable[[ServerEvent], None],
        transmit: Callable[[AudioMessage], None],
        flush: Callable[[int], None],
        new_playout: Callable[[], Playout],
    ) -> None:
        self._new_playout = new_playout
        self._playout: Playout | None = None
        self._emit = emit
        self._transmit = transmit
        self._flush = flush
        self._responses: OrderedDict[str, ResponseEvents] = OrderedDict()
        self._words: dict[str, WordStarts] = {}
        self._sounding: set[str] = set()
        self._deadline: float | None = None
        self._reference = Reference()

    @property
    def playout(self) -> Playout:
        """The pacing of this call's speech."""
        if self._playout is None:
            self._playout = self._new_playout()
        return self._playout

    @property
    def deadline(self) -> float | None:
        """When `pump` is due."""
        return self._deadline

    def begin(self, response_id: str, item_id: str, number: int, now: float, *, spoken: bool = True) -> None:
        """A response begins."""
        response = ResponseEvents(response_id, item_id, number, spoken=spoken)
        self._responses[response_id] = response
        self._words[response_id] = WordStarts()
        while len(self._responses) > REMEMBERED:
            self._words.pop(self._responses.popitem(last=False)[0], None)
        self.playout.begin(response_id, number, now)
        self._tell(response.start())

    def text(self, reply: Text) -> None:
        """The engine's next characters."""
        response = self._responses.get(reply.response_id)
        if response is not None and not response.over:
            self._tell(response.delta(reply.text))

    def speech(self, reply: Speech, now: float) -> bool:
        """The engine's next speech; true when it is the response's first sound. Raises `PlayoutError`."""
        response = self._responses.get(reply.response_id)
        if response is None or not self.playout.speech(reply.response_id, reply.position, reply.pcm, now):
            return False
        self._tell(response.times(reply.marks))
        self._words[reply.response_id].add(reply.marks)
        if reply.response_id in self._sounding or not reply.pcm:
            return False
        self._sounding.add(reply.response_id)
        self._emit(events.OutputStarted(response_id=reply.response_id))
        return True

    def done(self, reply: Done, now: float) -> None:
        """The engine is done: the client hears of it now, the loudspeaker finishes later."""
        response = self._responses.get(reply.response_id)
        if response is None:
            return
        outcome = {"completed": "completed", "length": "incomplete", "failed": "failed"}[reply.reason]
        reason = "" if reply.reason == "completed" else reply.reason
        self._tell(response.finish(outcome, reason=reason, usage=reply.usage))  # type: ignore[arg-type]
        self.playout.finish(reply.response_id, now)

    def fail(self, response_id: str, reason: str, now: float) -> None:
        """Nothing more will come; what was said so far plays out."""
        if response_id in self._responses:
            self._tell(self._responses[response_id].finish("failed", reason=reason))
            self.playout.finish(response_id, now)

    def heard(self, response_id: str, played_ms: float, final: bool, now: float) -> bool:
        """The page says what left the loudspeaker; false for a report that cannot be, which changes nothing."""
        return self._playout is not None and self._playout.ack(response_id, played_ms, final, now)

    def asks(self, response_id: str) -> bool:
        """Whether the response ends with a question."""
        response = self._responses.get(response_id)
        return response is not None and response.text.rstrip("\"'»”’) \n").endswith(QUESTION_MARKS)

    def pause(self, response_id: str, now: float) -> None:
        """Fall silent, keep what is buffered."""
        self.playout.pause(now)
        self._emit(events.OutputPaused(response_id=response_id))

    def resume(self, response_id: str, now: float) -> None:
        """Go on at the beginning of the word in which it fell silent."""
        heard_ms, from_ms = self.playout.heard_ms(response_id, now), None
        if heard_ms > 0 and response_id in self._words:
            from_ms = self._words[response_id].restart_ms(heard_ms)
        self.playout.resume(now, from_ms)
        self._emit(events.OutputResumed(response_id=response_id, from_ms=from_ms))

    def clear(self, response_id: str, now: float) -> None:
        """Nothing of this response is sent from now on; the client is told to fall silent."""
        self._drop(response_id, now)
        if response_id in self._sounding:
            self._emit(events.OutputCleared(response_id=response_id))

    def cut(self, response_id: str, reason: str, now: float) -> None:
        """The response is cancelled: `response.done` at once, if the engine had not finished it."""
        self._drop(response_id, now)
        if response_id in self._responses:
            self._tell(self._responses[response_id].finish("cancelled", reason=reason))

    def truncated(self, response_id: str, keep_ms: int, kept_text: str) -> None:
        """The engine keeps `kept_text` of the response; a response that never sounded has nothing to truncate."""
        if response_id in self._responses and response_id in self._sounding:
            self._tell(self._responses[response_id].truncated(keep_ms, kept_text))

    def item_of(self, response_id: str) -> str | None:
        """The item that response `response_id` is, None when it was never told."""
        response = self._responses.get(response_id)
        return response.item_id if response is not None else None

    def response_of(self, item_id: str) -> str | None:
        """The response that item `item_id` belongs to."""
        return next((r.response_id for r in self._responses.values() if r.item_id == item_id), None)

    def pump(self, now: float) -> list[Ended]:
        """Send what is due; returns the responses that have left the loudspeaker."""
        if self._playout is None:
            return []
        messages, self._deadline = self.playout.poll(now)
        for message in messages:
            self._reference.sent(message)
            self._transmit(message)
        ended = self.playout.ended()
        for response in ended:
            if response.response_id in self._sounding:
                self._emit(events.OutputStopped(response_id=response.response_id))
        return ended

    def played(self, now: float) -> Bands | None:
        """What left the loudspeaker since the last call, by bands; None for silence."""
        response_id = self._playout.speaking if self._playout is not None else None
        if self._playout is None or response_id is None:
            return None
        return self._reference.played(self._responses[response_id].number, self._playout.playing_ms(response_id, now))

    def credit(self, now: float) -> Credit | None:
        """What the model server is due to be told of the response being spoken."""
        return self._playout.credit(now) if self._playout is not None else None

    def _drop(self, response_id: str, now: float) -> None:
        self.playout.clear(response_id, now)
        if response_id in self._responses:
            self._flush(self._responses[response_id].number)

    def _tell(self, told: list[ServerEvent]) -> None:
        for event in told:
            self._emit(event)
