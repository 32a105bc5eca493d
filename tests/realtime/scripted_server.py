"""A model server without sockets or clock: the session protocol as the real one keeps it, for tests of the client side.

Its context is a plain tuple of what was written and said, so two sessions can be compared; what it says depends on all
of it. It speaks one word of 200 ms per `speak`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from model_server.protocol import (
    Append,
    Busy,
    Cancel,
    Cancelled,
    Capabilities,
    Done,
    Error,
    Generate,
    Limits,
    Open,
    Opened,
    PictureItem,
    Played,
    Prefill,
    Prefilled,
    Refused,
    Reply,
    Request,
    Rollback,
    RolledBack,
    SessionConfig,
    Speech,
    Started,
    Text,
    TextItem,
    Unit,
    Update,
    Updated,
)

WORD_MS = 200
WORDS = 6
SPOILT = b"spoilt"
"""Picture bytes that this server refuses."""

Step = tuple[str, object]
Context = tuple[Step, ...]


@dataclass
class _Mark:
    after_seq: int
    before: Context
    response_id: str = ""


@dataclass
class _Running:
    response_id: str
    before: Context
    words: list[str]
    said: int = 0
    native: bool = False

    @property
    def text(self) -> str:
        return " ".join(self.words)


def digest(context: Context) -> str:
    """A word that stands for the whole context."""
    return hashlib.sha256(repr(context).encode()).hexdigest()[:8]


def kept_words(words: list[str], keep_ms: float) -> str:
    """The words that are whole within `keep_ms`."""
    return " ".join(words[: int(keep_ms // WORD_MS)])


@dataclass
class ScriptedSession:
    """One session of the scripted server."""

    config: SessionConfig
    context: Context = ()
    last_seq: int = 0
    running: _Running | None = None
    played_ms: int = 0
    requests: list[Request] = field(default_factory=list)
    marks: list[_Mark] = field(default_factory=list)
    used_ids: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    max_marks: int = 1_000

    def handle(self, request: Request) -> list[Reply]:
        """What the server answers."""
        self.requests.append(request)
        match request:
            case Prefill() | Append():
                return [self._write(request)]
            case Update(config=config):
                if config.language == "xx":
                    return [Error(code="invalid_config", message="unknown language")]
                self.config = config
                return [Updated(applied=config)]
            case Rollback(to_seq=to_seq):
                return [self._rollback(to_seq)]
            case Generate():
                return [self._generate(request)]
            case Cancel():
                return [self._cancel(request)]
            case Played(ms=ms):
                self.played_ms = ms
                return []
            case _:
                raise AssertionError(f"unexpected {request}")

    def speak(self) -> list[Reply]:
        """The next word of the running response, or its end."""
        running = self.running
        if running is None:
            return []
        if running.said == len(running.words):
            self.running = None
            self.context = (*self.context, ("assistant", running.text))
            return [Done(response_id=running.response_id, engine_tokens=b"T:" + running.text.encode())]
        start = len(" ".join(running.words[: running.said])) + (running.said > 0)
        word = running.words[running.said]
        piece = word if running.said == 0 else " " + word
        position = running.said * WORD_MS * 24
        running.said += 1
        span = (start, start + len(word))
        return [
            Text(response_id=running.response_id, start=start - (running.said > 1), text=piece),
            Speech(response_id=running.response_id, position=position, pcm=bytes(WORD_MS * 48), text_span=span),
        ]

    def begin_native(self, response_id: str) -> list[Reply]:
        """The engine starts to speak of its own accord."""
        self._begin(response_id, native=True)
        return [Started(response_id=response_id)]

    def cut_lost_response(self) -> list[Reply]:
        """What follows `opened` when the session is taken up again."""
        if self.running is None:
            return []
        return [self._cancel(Cancel(response_id=self.running.response_id, keep_ms=self.played_ms))]

    def _write(self, request: Prefill | Append) -> Reply:
        if self.running is not None and not self.running.native and request.seq > self.last_seq:
            return Busy(seq=request.seq)
        if request.seq != self.last_seq + 1:
            code = "stale_seq" if request.seq <= self.last_seq else "seq_gap"
            return Error(code=code, message="wrong number", seq=request.seq)
        step = _step(request)
        if step is None:
            return Error(code="invalid_item", message="refused", seq=request.seq)
        self.marks.append(_Mark(self.last_seq, self.context))
        self.context = (*self.context, step)
        self.last_seq += 1
        return Prefilled(seq=request.seq, kv_length=len(self.context), ms=1.0)

    def _rollback(self, to_seq: int) -> Reply:
        if self.running is not None:
            return Error(code="response_in_progress", message="cancel it first")
        if to_seq > self.last_seq:
            return Error(code="out_of_order", message="not there yet")
        if to_seq < self.last_seq - self.max_marks:
            return Error(code="mark_gone", message="too far")
        self._return_to(to_seq)
        return RolledBack(last_seq=to_seq, kv_length=len(self.context))

    def _return_to(self, to_seq: int) -> None:
        later = [mark for mark in self.marks if mark.after_seq >= to_seq]
        if later:
            self.context = later[0].before
        self.marks = [mark for mark in self.marks if mark.after_seq < to_seq]
        self.last_seq = to_seq

    def _generate(self, request: Generate) -> Reply:
        if self.running is not None:
            return Error(code="response_in_progress", message="busy", response_id=request.response_id)
        if request.after_seq != self.last_seq or request.response_id in self.used_ids:
            return Error(code="out_of_order", message="not now", response_id=request.response_id)
        self._begin(request.response_id)
        return Started(response_id=request.response_id)

    def _begin(self, response_id: str, *, native: bool = False) -> None:
        words = [digest(self.context), *(f"word{n}" for n in range(1, WORDS))]
        self.marks.append(_Mark(self.last_seq, self.context, response_id))
        self.used_ids.add(response_id)
        self.running = _Running(response_id, self.context, words, native=native)
        self.played_ms = 0

    def _cancel(self, request: Cancel) -> Reply:
        index = next((i for i, m in enumerate(self.marks) if m.response_id == request.response_id), None)
        if index is None or request.response_id in self.settled:
            return Error(code="unknown_response", message="gone", response_id=request.response_id)
        mark = self.marks[index]
        words = [digest(mark.before), *(f"word{n}" for n in range(1, WORDS))]
        said = self.running.said if self.running is not None else WORDS
        self.running = None
        text = "" if request.discard else kept_words(words[:said], request.keep_ms)
        self.context = (*mark.before, ("assistant", text)) if text else mark.before
        self.last_seq = mark.after_seq
        self.marks = self.marks[: index + bool(text)]
        if text:
            self.settled.add(request.response_id)
        if request.rollback_to_seq is not None:
            self._return_to(request.rollback_to_seq)
        tokens = b"T:" + text.encode() if text else b""
        return Cancelled(
            response_id=request.response_id,
            kept_text=text,
            kv_length=len(self.context),
            last_seq=self.last_seq,
            engine_tokens=tokens,
        )


class ScriptedServer:
    """Sessions by id; knows its sockets only as the sessions they opened."""

    def __init__(self, *, native: bool = False) -> None:
        self.sessions: dict[str, ScriptedSession] = {}
        self.refusal: Refused | None = None
        self.opens: list[Open] = []
        self._tokens: dict[str, str] = {}
        self._native = native

    def open(self, session_id: str, request: Open) -> tuple[ScriptedSession | None, list[Reply]]:
        """Answer `open`; the session is None when it is refused."""
        self.opens.append(request)
        if self.refusal is not None:
            return None, [self.refusal]
        if request.resume is not None:
            return self._resume(session_id, request.resume)
        if session_id in self.sessions:
            return None, [Refused(code="session_in_use", message="there is one")]
        session = self.sessions[session_id] = ScriptedSession(request.config)
        return session, [self._opened(session_id, resumed=False)]

    def _resume(self, session_id: str, token: str) -> tuple[ScriptedSession | None, list[Reply]]:
        session = self.sessions.get(session_id)
        if session is None or self._tokens.get(session_id) != token:
            return None, [Refused(code="resume_unknown", message="no such session")]
        cut = session.cut_lost_response()
        return session, [self._opened(session_id, resumed=True), *cut]

    def _opened(self, session_id: str, *, resumed: bool) -> Opened:
        self._tokens[session_id] = token = f"{session_id}/{len(self.opens)}"
        kind = "native" if self._native else "turn_based"
        return Opened(
            session_id=session_id,
            capabilities=Capabilities(engine="scripted", model="none", turn_taking=kind),  # type: ignore[arg-type]
            limits=Limits(max_sessions=8, context=8192),
            version="1",
            resume_token=token,
            resumed=resumed,
            last_seq=self.sessions[session_id].last_seq,
        )


def _step(request: Prefill | Append) -> Step | None:
    """What a written item leaves in the context; None for one that is refused."""
    match request:
        case Append(role=role, text=text, engine_tokens=tokens):
            return (role, tokens.removeprefix(b"T:").decode() if tokens else text)
        case Prefill(item=Unit(audio=audio, pictures=pictures)):
            return None if SPOILT in pictures else ("unit", (audio[:4], tuple(pictures)))
        case Prefill(item=PictureItem(jpeg=jpeg)):
            return None if jpeg == SPOILT else ("picture", jpeg)
        case Prefill(item=TextItem(text=text)):
            return ("text", text)
    raise AssertionError(f"unexpected {request}")
