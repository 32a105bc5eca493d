"""The session against random callers, networks and dying servers: the context is always what the caller was told.

The test keeps its own list of what the context must hold, from what it asked and what it was told, and compares it with
the server's whenever all is quiet. A reply names the context that it answered, so it is checked as well that it was
asked for at the right place.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from model_server.protocol import Cancelled, Done, Error, Prefilled, SessionConfig, Speech, Started, Text
from realtime.session.pipeline import MAX_WAITING
from realtime.session.reports import Delivery, Returned
from tests.realtime.scripted_server import digest
from tests.realtime.session_line import Line, unit, unit_step

Step = tuple[str, object]


@dataclass
class _Entry:
    """What the context must hold at one place: an item, or a response that may still be open."""

    seq: int = 0
    step: Step | None = None
    response_id: str = ""
    text: str = ""
    pieces: int = 0
    over: bool = False
    cancelled: bool = False


class SessionMachine(RuleBasedStateMachine):
    """A caller who keeps to the rules; a network and a server that do not last."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.expected: list[_Entry] = []
        self.written: set[int] = set()
        self.heard = 0
        self.responses = 0

    @property
    def connected(self) -> bool:
        return self.line.session is not None

    @property
    def room(self) -> bool:
        return len(self.expected) < MAX_WAITING

    # The caller

    @precondition(lambda self: self.room)
    @rule()
    def prefill(self) -> None:
        seq = self.line.client.prefill(unit(f"{self.line.client.last_seq + 1}"))
        self.expected.append(_Entry(seq=seq, step=unit_step(f"{seq}")))
        self.listen()

    @rule(words=st.text("ab", max_size=3))
    def update(self, words: str) -> None:
        self.line.client.update(SessionConfig(instructions=words))

    @precondition(lambda self: self.room)
    @rule()
    def generate(self) -> None:
        self.responses += 1
        response_id = f"r{self.responses}"
        self.line.client.generate(response_id)
        self.expected.append(_Entry(response_id=response_id))
        self.listen()

    @precondition(lambda self: any(entry.response_id for entry in self.expected))
    @rule(data=st.data(), keep_ms=st.integers(0, 1_400), discard=st.booleans())
    def cancel(self, data: st.DataObject, keep_ms: int, discard: bool) -> None:
        entry = data.draw(st.sampled_from([entry for entry in self.expected if entry.response_id]))
        if any(other.response_id and not other.over for other in self.expected if other is not entry):
            return
        entry.cancelled = True
        self.line.client.cancel(entry.response_id, keep_ms, discard=discard)
        self.listen()

    @precondition(lambda self: any(entry.response_id for entry in self.expected))
    @rule(data=st.data())
    def discard_with_items(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from([i for i, entry in enumerate(self.expected) if entry.response_id]))
        places = [0, *(entry.seq for entry in self.expected[:index] if entry.seq)]
        open_ones = [e for e in self.expected if e.response_id and not e.over and e is not self.expected[index]]
        if open_ones:
            return
        seq = data.draw(st.sampled_from(places))
        self.expected[index].cancelled = True
        response_id = self.expected[index].response_id
        self.line.client.cancel(response_id, rollback_to_seq=seq)
        place = next((i + 1 for i, entry in enumerate(self.expected) if entry.seq == seq), 0) if seq else 0
        kept = [entry for entry in self.expected[place:] if entry.response_id == response_id]
        self.expected[place:] = kept
        self.listen()

    @precondition(lambda self: all(entry.over for entry in self.expected if entry.response_id))
    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from([0, *(entry.seq for entry in self.expected if entry.seq)]))
        self.line.client.rollback(seq)
        place = next((i + 1 for i, entry in enumerate(self.expected) if entry.seq == seq), 0) if seq else 0
        del self.expected[place:]
        self.listen()

    # The network and the server

    @precondition(lambda self: self.connected)
    @rule(up=st.integers(0, 4), down=st.integers(0, 6))
    def carry(self, up: int, down: int) -> None:
        self.line.send()
        for _ in range(min(up, len(self.line.up))):
            self.line.serve_one()
        for _ in range(min(down, len(self.line.down))):
            self.line.client.receive(self.line.down.popleft())
        self.listen()

    @precondition(lambda self: self.connected)
    @rule(words=st.integers(1, 7))
    def speak(self, words: int) -> None:
        assert self.line.session is not None
        for _ in range(words):
            self.line.down.extend(self.line.session.speak())

    @precondition(lambda self: self.connected)
    @rule(up=st.integers(0, 4), down=st.integers(0, 6), dies=st.booleans())
    def lose(self, up: int, down: int, dies: bool) -> None:
        self.line.lose(up=up, down=down, dies=dies)
        self.listen()

    @precondition(lambda self: not self.connected)
    @rule()
    def reopen(self) -> None:
        self.line.open()
        self.listen()

    @rule()
    def settle(self) -> None:
        """All is carried to its end, and compared."""
        if not self.connected:
            self.line.open()
        for _ in range(200):
            self.line.run()
            self.listen()
            assert self.line.session is not None
            if self.line.session.running is None:
                break
            self.speak(7)
        assert self.line.client.broken is None
        assert all(entry.over for entry in self.expected if entry.response_id)
        assert self.line.context == tuple(entry.step for entry in self.expected)
        assert self.written >= {entry.seq for entry in self.expected if entry.seq}

    # What the caller is told

    def listen(self) -> None:
        self.line.hear()
        for delivery in self.line.told[self.heard :]:
            self.take(delivery)
        self.heard = len(self.line.told)

    def take(self, delivery: Delivery) -> None:
        match delivery:
            case Prefilled(seq=seq):
                assert seq not in self.written, "told twice"
                self.written.add(seq)
            case Returned(seq=seq):
                self.drop(lambda entry: entry.seq == seq)
            case Started(response_id=response_id) | Text(response_id=response_id) | Speech(response_id=response_id):
                entry = self.response(response_id)
                assert not entry.over, "more of a response that is over"
                assert not entry.cancelled, "stale"
                entry.text += delivery.text if isinstance(delivery, Text) else ""
                entry.pieces += isinstance(delivery, Speech)
            case Done(response_id=response_id, reason=reason):
                entry = self.response(response_id)
                assert not entry.cancelled, "stale"
                if reason == "completed":
                    self.check_what_it_answered(entry)
                    self.close(entry, entry.text)
                else:
                    self.close(entry, " ".join(entry.text.split()[: entry.pieces]))
            case Cancelled(response_id=response_id, kept_text=kept):
                if any(entry.response_id == response_id for entry in self.expected):
                    self.close(self.response(response_id), kept)
            case Error(code="unknown_response"):
                pass
            case Error(response_id=str() as response_id):
                self.drop(lambda entry: entry.response_id == response_id)
            case Error():
                raise AssertionError(delivery)

    def check_what_it_answered(self, entry: _Entry) -> None:
        before = tuple(other.step for other in self.expected[: self.expected.index(entry)])
        assert entry.text.split()[0] == digest(before)  # type: ignore[arg-type]

    def response(self, response_id: str) -> _Entry:
        return next(entry for entry in self.expected if entry.response_id == response_id)

    def close(self, entry: _Entry, text: str) -> None:
        entry.over = True
        entry.cancelled = False
        entry.step = ("assistant", text)
        if not text:
            self.expected.remove(entry)

    def drop(self, which: object) -> None:
        assert callable(which)
        self.expected = [entry for entry in self.expected if not which(entry)]


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
