"""What no sequence of events, however mad, may bring about: on the dialogue, with a scripted session and a page."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from model_server import protocol
from model_server.protocol import TextItem
from realtime import events
from realtime.connection.frames import AudioMessage
from realtime.floor.rules import FloorState
from realtime.media.hearing import Edge
from tests.realtime.dialogue_scene import Scene


class Watched(Scene):
    """A scene whose page plays what it gets, and which looks at everything that goes out."""

    def __init__(self) -> None:
        super().__init__(silence_ms=500.0)
        self.pass_time(1.0)
        self._seen = self._heard = 0
        self._numbers: dict[int, str] = {}
        self._open: str | None = None
        self._silenced: set[str] = set()
        self._items: set[str] = set()
        self._played: dict[str, float] = {}
        self.deaf = False

    def page(self) -> None:
        """The page plays what came, reports it, and answers a clear."""
        if not self.deaf:
            for response_id, ms in list(self._played.items()):
                self.ack(response_id, ms, final=response_id != self._open)

    def look(self) -> None:
        """Check what went out since the last time, in order."""
        self._look_at_speech()
        for event in self.told[self._seen :]:
            self._look_at(event)
        self._seen = len(self.told)
        waits = {FloorState.THINKING, FloorState.HOLDING, FloorState.YIELDING}
        assert self.dialogue.state not in waits or self.dialogue.deadline is not None

    def _look_at(self, event: events.ServerEvent) -> None:
        match event:
            case events.ResponseCreated():
                assert self._open is None
                self._open = event.response.id
                assert self._open not in self.session.discarded
                self._numbers[event.number] = event.response.id
            case events.ResponseDone():
                assert event.response.id == self._open
                self._open = None
                if event.response.status == "cancelled":
                    self._silenced.add(event.response.id)
            case events.OutputCleared():
                self._silenced.add(event.response_id)
            case events.ItemAdded():
                self._items.add(event.item.id)
            case events.ItemDeleted():
                self._items.remove(event.item_id)
            case _:
                pass

    def _look_at_speech(self) -> None:
        for message in self.sent[self._heard :]:
            self._speech(message)
        self._heard = len(self.sent)

    def _speech(self, message: AudioMessage) -> None:
        known = {e.number: e.response.id for e in self.told if isinstance(e, events.ResponseCreated)}
        response_id = known[message.number]
        assert response_id not in self._silenced
        if message.pcm:
            self._played[response_id] = (message.position + len(message.pcm) // 2) / 24

    def edge(self, *, started: bool, ago: float = 0.0) -> None:
        position = max(0, self.position - round(16_000 * ago))
        (self.cutter.voice_from if started else self.cutter.voice_until)(position)
        self.dialogue.edge(Edge(started, position, position / 16_000), self.now)

    def type_words(self, *, ask: bool) -> None:
        self.dialogue.write([TextItem(text="in Paris")], events.Item(id=f"typed_{len(self.told)}"), self.now)
        if ask:
            self.dialogue.ask(self.now)

    def lose(self, *, dies: bool) -> None:
        self.session.line.lose(up=1, down=1, dies=dies)
        self.session.line.open()
        self.session.line.run()
        for reply in self.session.line.told:
            if isinstance(reply, protocol.Done | protocol.Cancelled | protocol.Error):
                self.dialogue.reply(reply, self.now)


DO: dict[str, Callable[[Watched], object]] = {
    "starts": lambda scene: scene.edge(started=True),
    "started a while ago": lambda scene: scene.edge(started=True, ago=0.3),
    "stops": lambda scene: scene.edge(started=False, ago=0.1),
    "stirs": lambda scene: scene.dialogue.stirred(scene.now),
    "speaks a turn": lambda scene: scene.speak(0.4, pause=0.6),
    "is answered": lambda scene: (scene.speak(0.4, pause=0.6), scene.says(4), scene.page()),
    "is answered, goes on": lambda scene: (DO["is answered"](scene), scene.edge(started=True), scene.pass_time(0.3)),
    "talks over": lambda scene: (scene.edge(started=True), scene.pass_time(0.3)),
    "halts": lambda scene: scene.speak(0.3, pause=0.34),
    "short": lambda scene: scene.pass_time(0.08),
    "longer": lambda scene: scene.pass_time(0.4),
    "unanswered": lambda scene: scene.pass_time(0.3, answers=False),
    "word": lambda scene: scene.says(1),
    "words": lambda scene: scene.says(8),
    "types": lambda scene: scene.type_words(ask=False),
    "types and asks": lambda scene: scene.type_words(ask=True),
    "asks": lambda scene: scene.dialogue.ask(scene.now, instructions="in French"),
    "greets": lambda scene: scene.dialogue.ask(scene.now, say="Hello."),
    "taps": lambda scene: scene.dialogue.stop(scene.now),
    "sets": lambda scene: scene.dialogue.context_changes(scene.now),
    "deaf page": lambda scene: setattr(scene, "deaf", not scene.deaf),
    "mad reports": lambda scene: [scene.ack(name, ms, final=True) for name in ("resp_7", "?") for ms in (-5, 1e9)],
    "mad replies": lambda scene: [
        scene.dialogue.reply(reply, scene.now)
        for reply in (
            protocol.Done(response_id="never"),
            protocol.Cancelled(response_id="never", kept_text="", kv_length=1, last_seq=1),
            protocol.Error(code="unknown_response", message="", response_id="never"),
            protocol.Speech(response_id="never", position=0, pcm=bytes(960), text_span=(0, 0)),
        )
    ],
    "room": lambda scene: setattr(scene.session, "spare", not scene.session.spare),
    "cut off": lambda scene: scene.lose(dies=False),
    "server dies": lambda scene: scene.lose(dies=True),
}


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(sorted(DO)), max_size=40))
def test_no_sequence_of_events_breaks_the_dialogue(script: list[str]) -> None:
    scene = Watched()
    for name in script:
        DO[name](scene)
        scene.look()
        scene.page()
        scene.look()
    # Left alone, every call comes to rest, and hears and answers the next turn.
    scene.deaf = False
    scene.edge(started=False)
    for _ in range(12):
        scene.pass_time(0.5)
        scene.says(8)
        scene.look()
        scene.page()
    assert scene.dialogue.state == FloorState.IDLE
    before = len(scene.told_ids())
    scene.speak(0.5, pause=0.7)
    scene.says(1)
    assert len(scene.told_ids()) == before + 1
    assert scene.dialogue.state == FloorState.SPEAKING
