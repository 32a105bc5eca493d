"""A session's client side and a scripted server, with a wire between them that a test moves by hand."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from model_server.protocol import Prefilled, Reply, Request, SessionConfig, Unit
from realtime.session.protocol import SessionProtocol
from realtime.session.reports import Delivery
from tests.realtime.scripted_server import Context, ScriptedServer, ScriptedSession


def unit(name: str, *pictures: bytes) -> Unit:
    """A full second that can be told from others by its name of at most four letters."""
    return Unit(audio=name.encode().ljust(4, b"_") + bytes(31_996), pictures=list(pictures))


def unit_step(name: str, *pictures: bytes) -> tuple[str, object]:
    """What that second leaves in the server's context."""
    return ("unit", (name.encode().ljust(4, b"_"), pictures))


Kind = TypeVar("Kind")


class Line:
    """A client and a server with a wire between them that the test moves by hand."""

    def __init__(self, *, native: bool = False) -> None:
        self.server = ScriptedServer(native=native)
        self.client = SessionProtocol(SessionConfig())
        self.session: ScriptedSession | None = None
        self.up: deque[Request] = deque()
        self.down: deque[Reply] = deque()
        self.told: list[Delivery] = []
        self._names = 0
        self.open()

    def open(self) -> None:
        """Connect and open, as a shell would: resume, and where that is refused a new session."""
        request = self.client.open_request()
        if request.resume is None:
            self._names += 1
        session, replies = self.server.open(f"s{self._names}", request)
        if session is None:
            assert self.client.forget_server()
            self.open()
            return
        self.session = session
        opened, *rest = replies
        self.client.opened(opened)  # type: ignore[arg-type]
        self.down.extend(rest)

    def lose(self, *, up: int = 0, down: int = 0, dies: bool = False) -> None:
        """The socket is lost; `up` requests still arrived, and `down` answers. `dies`: the server is lost, too."""
        self.send()
        for _ in range(min(up, len(self.up))):
            self.serve_one()
        for _ in range(min(down, len(self.down))):
            self.client.receive(self.down.popleft())
        self.up.clear()
        self.down.clear()
        if dies:
            self.server.sessions.clear()
        self.session = None
        self.client.lost()
        self.hear()

    def send(self) -> None:
        """What the client has to say goes on the wire."""
        while (request := self.client.next_request()) is not None:
            self.up.append(request)

    def serve_one(self) -> None:
        """The server takes one request off the wire."""
        assert self.session is not None
        self.down.extend(self.session.handle(self.up.popleft()))

    def hear(self) -> None:
        """The caller is told what there is to tell."""
        self.told.extend(self.client.deliveries())

    def run(self) -> list[Delivery]:
        """Carry everything there and back until all is quiet; returns what the caller was told meanwhile."""
        before = len(self.told)
        self.hear()
        while True:
            self.send()
            if not self.up and not self.down:
                return self.told[before:]
            while self.up:
                self.serve_one()
            while self.down:
                self.client.receive(self.down.popleft())
            self.hear()

    def speak(self, words: int = 1) -> list[Delivery]:
        """The server speaks; returns what the caller was told."""
        assert self.session is not None
        before = len(self.told)
        for _ in range(words):
            self.down.extend(self.session.speak())
            self.run()
        return self.told[before:]

    @property
    def context(self) -> Context:
        """What the server holds."""
        assert self.session is not None
        return self.session.context


def only(told: list[Delivery], kind: type[Kind]) -> list[Kind]:
    """The deliveries of one kind."""
    return [delivery for delivery in told if isinstance(delivery, kind)]


def seqs(told: list[Delivery]) -> list[int]:
    """The items told as written."""
    return [reply.seq for reply in only(told, Prefilled)]


def reply_to(line: Line, response_id: str, words: int) -> list[Delivery]:
    """Ask for a response and let the server speak so many words (one more ends it); returns what was told."""
    line.client.generate(response_id)
    told = line.run()
    return told + line.speak(words)
