"""A call in steps of 20 ms, from samples to the model's context, without sockets: the gateway's dialogue in between."""

from __future__ import annotations

import itertools

import numpy as np

from model_server import protocol
from model_server.protocol import Capabilities, GenerateOptions, Item, Unit
from realtime import events
from realtime.connection.frames import AudioMessage
from realtime.dialogue.dialogue import Dialogue
from realtime.dialogue.writing import SessionPort
from realtime.events import ServerEvent
from realtime.floor.rules import FloorRules
from realtime.media.hearing import Edge
from realtime.media.units import UnitCutter
from realtime.output.playout import Playout
from realtime.output.speaking import Speaking
from realtime.service.metrics import Metrics
from realtime.session.reports import Returned
from tests.realtime.session_line import Line

RATE = 16_000
FRAME = 320


def sound(position: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """20 ms of a call; each sample tells its place."""
    return ((np.arange(position, position + FRAME) * 7919) % 65_536 - 32_768).astype(np.int16)


class Written(SessionPort):
    """A real session's client, and what the model was given of it as whole units."""

    def __init__(self, *, spare: bool) -> None:
        self.line = Line()
        self.spare = spare
        self.audio: dict[bytes, bytes] = {}
        self.speculative: list[str] = []
        self.discarded: list[str] = []
        self.wanted: list[str] = []

    def prefill(self, item: Item) -> int:
        if isinstance(item, Unit):
            # The scripted server tells units by four bytes: these stand for all that is in one.
            name = len(self.audio).to_bytes(4, "big")
            self.audio[name] = item.audio
            item = Unit(audio=name + bytes(31_996), pictures=item.pictures, last=item.last)
        return self.line.client.prefill(item)

    def generate(self, response_id: str, options: GenerateOptions) -> None:
        (self.speculative if options.speculative else self.wanted).append(response_id)
        self.line.client.generate(response_id, options)

    def played(self, response_id: str, ms: int) -> None:
        self.line.client.played(response_id, ms)

    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None:
        if discard:
            self.discarded.append(response_id)
        self.line.client.cancel(response_id, keep_ms, discard=discard, rollback_to_seq=rollback_to_seq)

    @property
    def units(self) -> list[tuple[bytes, object]]:
        """What the model has heard and seen."""
        steps = [step for kind, step in self.line.context if kind == "unit"]
        return [(self.audio[name], pictures) for name, pictures in steps]  # type: ignore[misc]


class Scene:
    """A call in steps of 20 ms, from samples to the model's context."""

    def __init__(self, *, spare: bool = True, **rules: object) -> None:
        self.session = Written(spare=spare)
        self.cutter = UnitCutter()
        self.told: list[ServerEvent] = []
        self.sent: list[AudioMessage] = []
        self.metrics = Metrics()
        self.position = 0
        ids = itertools.count(1)
        speaking = Speaking(self.told.append, self.sent.append, lambda number: None, Playout)
        self.dialogue = Dialogue(
            Capabilities(engine="fake", model="fake"),
            self.session,
            speaking,
            self.told.append,
            self.cutter,
            lambda prefix: f"{prefix}_{next(ids)}",
            FloorRules(**{"silence_ms": 600.0, "eagerness": "fixed", **rules}),  # type: ignore[arg-type]
            self.metrics,
        )

    @property
    def now(self) -> float:
        return self.position / RATE

    def pass_time(self, seconds: float, *, answers: bool = True) -> None:
        """Time passes; the session answers at once where it may."""
        for _ in range(round(seconds * RATE / FRAME)):
            units = self.cutter.append(sound(self.position))
            self.position += FRAME
            for unit in units:
                self.dialogue.unit(unit, self.now)
            self.dialogue.tick(self.now)
            if answers:
                self.answer()

    def answer(self) -> None:
        for reply in self.session.line.run():
            if isinstance(reply, Returned):
                assert not isinstance(reply.item, protocol.Append)
                self.dialogue.returned(reply.item)
                continue
            if isinstance(reply, protocol.Prefilled):
                reply.spare = self.session.spare
            self.dialogue.reply(reply, self.now)

    def says(self, words: int) -> None:
        """The engine gives so many words of the reply that runs, 200 ms each."""
        assert self.session.line.session is not None
        for _ in range(words):
            self.session.line.down.extend(self.session.line.session.speak())
        self.answer()

    def speak(self, seconds: float, *, pause: float = 0.0) -> None:
        """The person speaks for a while, then is silent."""
        self.cutter.voice_from(self.position)
        self.dialogue.edge(Edge(True, self.position, self.now), self.now)
        self.pass_time(seconds)
        self.cutter.voice_until(self.position)
        self.dialogue.edge(Edge(False, self.position, self.now), self.now)
        self.pass_time(pause)

    def samples(self, count: int) -> bytes:
        """The call's first samples."""
        return b"".join(sound(at).tobytes() for at in range(0, count, FRAME))[: 2 * count]

    def told_ids(self) -> list[str]:
        """The responses that the client heard of."""
        return [event.response.id for event in self.told if isinstance(event, events.ResponseCreated)]

    def ack(self, response_id: str, played_ms: float, *, final: bool = False) -> None:
        ack = events.PlaybackAck(response_id=response_id, played_ms=played_ms, final=final)
        self.dialogue.played(ack, self.now)
        self.answer()

    def types(self) -> list[str]:
        return [str(event.__struct_config__.tag) for event in self.told if not isinstance(event, events.UnitCommitted)]

    def count(self, outcome: str) -> float:
        """How many guesses ended so."""
        return self.metrics.registry.get_sample_value("realtime_guesses_total", {"outcome": outcome}) or 0.0
