"""Playout against random engines, networks and pages: what must hold in every sequence of events."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime.connection.frames import AudioMessage
from realtime.output.heard import EXTRAPOLATION_MS
from realtime.output.playout import MAX_LEAD_MS, Playout
from realtime.output.utterance import MAX_BUFFERED_SAMPLES

MS = 24


class _Response:
    """What the test knows of one response: what the engine gave, what went out, what the page said."""

    def __init__(self, response_id: str, number: int) -> None:
        self.response_id = response_id
        self.number = number
        self.given = bytearray()
        self.sent = bytearray()
        self.finished = False
        self.cleared = False
        self.over = False
        self.acked = 0
        self.last_seen = False


class PlayoutMachine(RuleBasedStateMachine):
    """An engine that respects the protocol, and a page and a network that do as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.playout = Playout()
        self.now = 0.0
        self.responses: list[_Response] = []
        self.newest_number = 0

    # The engine

    @precondition(lambda self: sum(not (r.cleared or r.over) for r in self.responses) < 3)
    @rule()
    def begin(self) -> None:
        number = len(self.responses) + 1
        self.responses.append(_Response(f"r{number}", number))
        self.playout.begin(f"r{number}", number, self.now)

    @precondition(lambda self: self.responses)
    @rule(data=st.data(), samples=st.integers(0, 6_000))
    def speech(self, data: st.DataObject, samples: int) -> None:
        response = data.draw(st.sampled_from(self.responses))
        waiting = len(response.given) - len(response.sent) + 2 * samples
        if response.finished or waiting > 2 * MAX_BUFFERED_SAMPLES:
            return
        first = len(response.given) // 2
        pcm = b"".join((n % 65_536).to_bytes(2, "little") for n in range(first, first + samples))
        taken = self.playout.speech(response.response_id, first, pcm, self.now)
        assert taken is not (response.cleared or response.over)
        if taken:
            response.given += pcm

    @precondition(lambda self: self.responses)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        response = data.draw(st.sampled_from(self.responses))
        response.finished = True
        self.playout.finish(response.response_id, self.now)

    # The floor

    @precondition(lambda self: self.responses)
    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        response = data.draw(st.sampled_from(self.responses))
        response.cleared = response.cleared or not response.over
        self.playout.clear(response.response_id, self.now)

    @rule()
    def pause(self) -> None:
        self.playout.pause(self.now)

    @rule()
    def resume(self) -> None:
        self.playout.resume(self.now)

    # The page and the network

    @precondition(lambda self: self.responses)
    @rule(data=st.data(), share=st.floats(-0.5, 1.5), final=st.booleans())
    def report(self, data: st.DataObject, share: float, final: bool) -> None:
        response = data.draw(st.sampled_from(self.responses))
        sent = len(response.sent) // 2
        taken = self.playout.ack(response.response_id, share * sent / MS, final, self.now)
        if taken:
            assert share * sent >= response.acked - 1e-6 or share <= 0
            assert share * sent <= sent + 480
            response.acked = max(response.acked, min(round(share * sent), sent))

    @rule(rtt=st.floats(0, 2_000), jitter=st.floats(0, 500))
    def round_trip(self, rtt: float, jitter: float) -> None:
        self.playout.set_rtt(rtt, jitter)

    @rule(seconds=st.floats(0, 0.6))
    def poll(self, seconds: float) -> None:
        self.now += seconds
        messages, deadline = self.playout.poll(self.now)
        assert deadline is None or deadline > self.now
        for message in messages:
            self._received(message)
        for ended in self.playout.ended():
            response = next(r for r in self.responses if r.response_id == ended.response_id)
            assert response.finished
            assert response.given == response.sent
            response.over = True

    def _received(self, message: AudioMessage) -> None:
        response = self.responses[message.number - 1]
        assert not response.cleared
        assert not response.over
        assert message.number >= self.newest_number
        assert message.position == len(response.sent) // 2
        assert len(message.pcm) <= 960
        assert not (response.last_seen and message.pcm)
        self.newest_number = message.number
        response.sent += message.pcm
        response.last_seen = message.last
        if message.last:
            assert response.finished
            assert response.sent == response.given

    @invariant()
    def sent_is_what_was_given_and_never_too_far_ahead(self) -> None:
        for response in self.responses:
            assert response.given.startswith(response.sent)
            ahead = len(response.sent) // 2 - response.acked
            assert ahead <= (MAX_LEAD_MS + EXTRAPOLATION_MS) * MS + 480

    @invariant()
    def heard_is_between_nothing_and_what_was_sent(self) -> None:
        for response in self.responses[-8:]:
            assert 0 <= self.playout.heard_ms(response.response_id, self.now) * MS <= len(response.sent) // 2 + 1e-6

    def teardown(self) -> None:
        """With a page that plays and reports, everything that was given comes out in the end."""
        self.playout.resume(self.now)
        self.playout.set_rtt(0.0)
        for response in self.responses:
            self.finish_quietly(response)
        for _ in range(2_000):
            if self.playout.speaking is None:
                break
            self.poll(0.05)
            speaking = self.playout.speaking
            if speaking is not None:
                response = next(r for r in self.responses if r.response_id == speaking)
                sent = len(response.sent) // 2
                response.acked = sent
                self.playout.ack(speaking, sent / MS, response.last_seen, self.now)
        assert self.playout.speaking is None
        for response in self.responses:
            assert response.cleared or response.sent == response.given

    def finish_quietly(self, response: _Response) -> None:
        response.finished = True
        self.playout.finish(response.response_id, self.now)


TestPlayoutMachine = PlayoutMachine.TestCase
TestPlayoutMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
