"""The assistant: scripted replies, given as an engine gives them, at most 5 s ahead.

With exact word times, or in the form of MiniCPM-o 2.6: pieces of 0.533 s, of which every second one brings ten tokens
of text that may be spoken from then on, and no times.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import soxr

from model_server.demo.speech import Piece, Speaker, sentences
from model_server.protocol import (
    HEARING_RATE,
    SPEECH_RATE,
    Done,
    GenerateOptions,
    Item,
    Prefilled,
    Reply,
    Speech,
    Text,
    Unit,
    WordMark,
)
from realtime.session.spoken import SpokenText
from tests.bench.floor.voices import Sound, Voice, active_rms, voiced

AHEAD_MS = 5_000
UNMARKED_PIECE = SPEECH_RATE * 8 // 15
TOKENS = 10
TOKEN = re.compile(r"\w{1,6}|[^\w\s]")
"""About what a word-piece tokenizer makes of English: signs, short words, and long words in parts."""

ASSISTANT = Voice("en-us", 165, 48, 60)


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """One rendered reply: its pieces for the gateway, and its sound as the loudspeaker gives it (16 kHz, RMS 1)."""

    text: str
    pieces: tuple[Piece, ...]
    sound: Sound

    @property
    def marks(self) -> list[WordMark]:
        """Every word's time."""
        return [mark for piece in self.pieces for mark in piece.marks]

    def words(self, ms: float) -> int:
        """How many words were said to their end after `ms`."""
        end = max((mark.text_end for mark in self.marks if mark.end_ms <= ms), default=0)
        return len(self.text[:end].split())


@lru_cache(maxsize=64)
def render(text: str) -> Spoken:
    """`text` in the assistant's voice."""
    speaker, parts = Speaker(), list(sentences(text))
    pieces = [
        piece
        for index, part in enumerate(parts)
        for piece in speaker.say(part, voiced(ASSISTANT, part), last=index == len(parts) - 1)
    ]
    wide = np.frombuffer(b"".join(piece.pcm for piece in pieces), np.int16).astype(np.float32) / 32768
    sound = np.asarray(soxr.resample(wide, SPEECH_RATE, HEARING_RATE), np.float32)
    return Spoken(text, tuple(pieces), (sound / active_rms(sound)).astype(np.float32))


def unmarked(spoken: Spoken) -> list[Piece]:
    """The same reply as MiniCPM-o 2.6 gives it."""
    ends = [found.end() for found in TOKEN.finditer(spoken.text)]
    pcm = b"".join(piece.pcm for piece in spoken.pieces)
    pieces, told = [], 0
    for index, start in enumerate(range(0, len(pcm), 2 * UNMARKED_PIECE)):
        begun, told = told, ends[min(len(ends), TOKENS * (index // 2 + 1)) - 1]
        pieces.append(Piece("", pcm[start : start + 2 * UNMARKED_PIECE], (begun, told), ()))
    return pieces


@dataclass(slots=True)
class Given:
    """One reply on its way: its `pieces` as the engine gives them, and what the gateway `knows` of it.

    `kept_ms`: what the gateway says was heard when it cancelled.
    """

    spoken: Spoken
    pieces: list[Piece]
    asked_at: float
    knows: SpokenText = field(default_factory=SpokenText)
    next_piece: int = 0
    position: int = 0
    played_ms: int = 0
    cancelled_at: float | None = None
    kept_ms: int = 0

    @property
    def kept_words(self) -> int:
        """How many words stay in the session."""
        return len(self.knows.heard(self.kept_ms).split())


class ScriptedSession:
    """A model session whose engine needs `engine_s` to begin. `say` takes a reply to the gateway at a time."""

    def __init__(
        self,
        text: Callable[[], str],
        now: Callable[[], float],
        say: Callable[[float, Reply], None],
        engine_s: float,
        marks: bool = True,
        spare: bool = False,
    ) -> None:
        self.given: dict[str, Given] = {}
        self._written: list[tuple[int, Unit]] = []
        self._text = text
        self._now = now
        self._say = say
        self._engine_s = engine_s
        self._marks = marks
        self._spare = spare
        self._seq = 0

    @property
    def units(self) -> list[bytes]:
        """The sound of every unit that the session keeps, in order."""
        return [unit.audio for _, unit in self._written]

    def prefill(self, item: Item) -> int:
        self._seq += 1
        if isinstance(item, Unit):
            self._written.append((self._seq, item))
        if self._spare:
            self._say(self._now(), Prefilled(seq=self._seq, kv_length=0, ms=0.0, spare=True))
        return self._seq

    def generate(self, response_id: str, options: GenerateOptions) -> None:
        text = options.say or self._text()
        spoken = render(text)
        pieces = list(spoken.pieces) if self._marks else unmarked(spoken)
        given = self.given[response_id] = Given(spoken, pieces, self._now())
        given.knows.add_text(0, text)
        self._say(self._now() + self._engine_s, Text(response_id=response_id, start=0, text=text))
        self._go_on(response_id, self._now() + self._engine_s)

    def played(self, response_id: str, ms: int) -> None:
        self.given[response_id].played_ms = ms
        self._go_on(response_id, self._now())

    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None:
        if rollback_to_seq is not None:
            self._written = [(seq, unit) for seq, unit in self._written if seq <= rollback_to_seq]
        given = self.given[response_id]
        if given.cancelled_at is None:
            given.cancelled_at, given.kept_ms = self._now(), keep_ms

    def _go_on(self, response_id: str, at: float) -> None:
        given = self.given[response_id]
        pieces = given.pieces
        while given.cancelled_at is None and given.next_piece < len(pieces):
            if given.position * 1000 / SPEECH_RATE > given.played_ms + AHEAD_MS:
                return
            piece = pieces[given.next_piece]
            speech = Speech(
                response_id=response_id,
                position=given.position,
                pcm=piece.pcm,
                text_span=piece.text_span,
                marks=list(piece.marks),
            )
            self._say(at, speech)
            given.knows.add_speech(speech)
            given.position += len(piece.pcm) // 2
            given.next_piece += 1
            if given.next_piece == len(pieces):
                given.knows.finish()
                self._say(at, Done(response_id=response_id))
