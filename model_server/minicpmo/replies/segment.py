"""One segment of a spoken reply: text in, pieces of sound out (specification 8.5 to 8.7)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.memory.attended import Walk
from model_server.minicpmo.memory.heard import Spoken, Timeline
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.speech import Chooser
from model_server.minicpmo.network.speech_sampling import LEAST_STEPS
from model_server.minicpmo.network.speech_state import visible_text
from model_server.minicpmo.network.text_looks import looks
from model_server.minicpmo.replies.steps import SoundStep, SpeechStep, SpeechTextStep, Step, asked
from model_server.minicpmo.words.speech_ids import speech_ids

CALL = 25
"""Code frames of one call, 0.533 s of sound."""

OVERLAP_FRAMES = 4
"""Frames before a piece that are decoded again with it, to be cross-faded."""

CONTEXT_TEXT, CONTEXT_FRAMES = 5, 50
"""What a later segment takes along of the one before it: text tokens, code frames."""

MOST_FRAMES = 2048
"""A segment ends after the call in which it grows longer than this."""


SPARE_TOKENS = 180
"""Where there is room for no more text tokens than these, a sentence's end ends the segment."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a reply: text that is new, and sound [n], 24 kHz, float32 on the CPU (may be [0])."""

    text: str
    samples: Tensor


def cut_behind(text: str, mark: str) -> tuple[str, str]:
    """The text up to the last `mark`, that included, and the rest."""
    before, found, rest = text.rpartition(mark)
    return before + found, rest


@dataclass(slots=True)
class SpeechTrace:
    """What the speech model was given and what it did, for whoever wants to compare."""

    prefills: list[tuple[list[int], list[int]]] = field(default_factory=list)
    """Token ids and their positions."""
    calls: list[tuple[int, bool, int]] = field(default_factory=list)
    """Frames in the segment so far, whether it ended, and the length of its cache."""
    frames: list[list[int]] = field(default_factory=list)
    """All frames of the last segment."""
    segments: int = 0


@dataclass(frozen=True, slots=True)
class Voice:
    """How a reply's speech is drawn."""

    choose: Chooser
    forbid_end: Callable[[int], bool] = lambda call: False
    """Whether this call (counted over the whole reply) may not end the speech."""
    trace: SpeechTrace = field(default_factory=SpeechTrace)
    timeline: Timeline = field(default_factory=Timeline)
    """What was spoken when."""


def _visible(config: SpeechConfig, context: int, head: int, frame: int) -> int:
    """How many text tokens of its own the step of a segment's own frame number `frame` may see (specification 8.4)."""
    return visible_text(config, context + frame, config.reserved_text) - 2 - head


class Segment:
    """A run of the speech model over at most 300 text tokens."""

    def __init__(self, model: MiniCPMO, voice: Voice, speaker: Tensor, before: Segment | None = None) -> None:
        """`speaker` is the hidden state [hidden] at `<|spk|>`; a segment `before` this one gives its last words."""
        self._model, self._voice, self._trace = model, voice, voice.trace
        self._config: SpeechConfig = model.config.speech
        self.state = model.speech.new_state(speaker)
        self.key = object()
        """Stands for the segment where it is remembered, for it holds much memory itself."""
        self.head: list[int] = []
        """Text tokens of the segment before that stand in front of this one's text."""
        self.text = ""
        self.ids: list[int] = []
        self.count = 0
        self.chunks = 0
        """Text chunks the speech model has been given."""
        self.finished = False
        """The speech model has ended the segment."""
        self.decoded = 0
        """Frames that have become sound."""
        self._begun = False
        self._due: list[tuple[Sequence[int], int]] = []
        """Text and its first slot, given but not read yet: that is the next call's first work."""
        self._context = 0
        self._walk = Walk()
        if before is not None:
            self._continue(before)

    def _continue(self, before: Segment) -> None:
        words = before.last_words
        head = [*before.ids[:2], *words]
        self.state.text_length = len(words)
        self._note(head, 0)
        self._model.speech.prefill_text(self.state, head, 0)
        codes = before.state.codes[-CONTEXT_FRAMES:]
        self._model.speech.prefill_audio(self.state, codes)
        self.decoded = self._context = len(codes)

    @property
    def last_words(self) -> list[int]:
        """The text tokens that a segment behind this one starts from."""
        return self.ids[2 : 2 + self.count][-CONTEXT_TEXT:]

    @property
    def full(self) -> bool:
        """Longer than a segment may be, the frames of the segment before it counted in."""
        return self.frames > MOST_FRAMES

    @property
    def room(self) -> int:
        """How many more text tokens fit in."""
        return self._config.reserved_text - self.count

    @property
    def frames(self) -> int:
        """Code frames so far, those of the segment before it counted in."""
        return len(self.state.codes)

    def spoken(self, begins: int) -> Spoken:
        """How far it is; its text begins there in the text to be spoken."""
        ends, frames = self._model.speech_tokenizer.ends, self.frames - self._context
        visible = partial(_visible, self._config, self._context, len(self.head))
        return Spoken(begins, self.text, ends, visible, frames, tuple(self._walk.places))

    def read(self, text: str) -> None:
        """The text to be spoken is now `text`; what was given to the speech model stays."""
        room = self._config.reserved_text - len(self.head)
        ids, count = speech_ids(self._model.speech_tokenizer, text, room)
        self.text, self.count = text, len(self.head) + count
        self.ids = [*ids[:2], *self.head, *ids[2:]]

    @property
    def unspoken(self) -> str:
        """The text behind what the speech model could see so far, from the beginning of a word on.

        Only a word that was all it saw is cut: otherwise the same text would be left over again and again.
        """
        config, steps = self._config, self.state.kv_length - self._config.audio_start
        seen = min(config.text_chunk * -(-(steps + 1) // config.audio_chunk), self.count) - len(self.head)
        return self.text[self._offset(self.text, max(seen, 1)) :]

    @property
    def given(self) -> str:
        """The text that the speech model was given, maybe to the middle of a word."""
        tokens = max(self._config.text_chunk * self.chunks - len(self.head), 0)
        return self.text[: self._model.speech_tokenizer.offset(self.text, tokens, inside_words=True)]

    def fitting(self, text: str) -> str:
        """The beginning of a text that a segment has room for."""
        return text[: self._offset(text, self._config.reserved_text - len(self.head))]

    def _offset(self, text: str, tokens: int) -> int:
        """Where the word that holds token number `tokens` begins, or the token itself if the word begins the text."""
        tokenizer = self._model.speech_tokenizer
        start = tokenizer.offset(text, tokens)
        return start if text[:start].strip() else tokenizer.offset(text, tokens, inside_words=True)

    def tokens(self, text: str) -> int:
        """How many text tokens a text has."""
        return len(self._model.speech_tokenizer.encode(text))

    @property
    def chunk_ready(self) -> bool:
        """A whole chunk of text waits that the speech model has not seen."""
        return self.count >= self._config.text_chunk * (self.chunks + 1)

    @property
    def chunks_in_sight(self) -> int:
        """Chunks of text that the last frame of the next call sees, as far as they are there."""
        return -(-(self.state.steps + CALL + 1) // self._config.audio_chunk)

    def give_chunk(self) -> None:
        """Give the speech model its next chunk of text."""
        size = self._config.text_chunk
        stop = min(2 + size * (self.chunks + 1), self._config.audio_start)
        self._give(2 + size * self.chunks if self.chunks else 0, stop)
        self.chunks += 1

    def give_rest(self) -> None:
        """Give the speech model all the text there is, and its end."""
        self._give(2 + self._config.text_chunk * self.chunks if self.chunks else 0, self.count + 3)

    def _give(self, start: int, stop: int) -> None:
        self.state.text_length = self.count
        if start < stop:
            self._note(self.ids[start:stop], start)
            self._due.append((self.ids[start:stop], start))

    def _note(self, ids: Sequence[int], start: int) -> None:
        self._trace.segments += not self._begun
        self._begun = True
        self._trace.prefills.append((list(ids), list(range(start, start + len(ids)))))

    def _frames(self) -> Generator[Step[Any], Any, None]:
        """Read the text that was given, then up to 25 frames."""
        speech, no_stop = self._model.speech, self._voice.forbid_end(len(self._trace.calls))
        due, self._due = self._due, []
        for ids, start in due:
            yield from asked(SpeechTextStep(speech, self.state, ids, start))
        speech.begin_call(self.state, CALL)
        before = self.frames
        for step in range(CALL):
            may_end = step >= LEAST_STEPS and not no_stop
            yield from asked(SpeechStep(speech, self.state, self._voice.choose, may_end))
            if self.state.finished:
                break
        self.finished = self.state.finished
        self._walk.looked(looks(self._config, self.state, 2 + len(self.head)), self.frames - before)

    def call(self) -> Generator[Step[Any], Any, Tensor]:
        """Speak on for up to 25 frames; their sound, after the first piece of a reply with 2048 samples of overlap."""
        yield from self._frames()
        self._trace.calls.append((self.frames, self.finished, self.state.kv_length))
        self._trace.frames = self.state.codes.tolist()
        codes = self.state.codes[max(self.decoded - OVERLAP_FRAMES, 0) :]
        self.decoded = self.frames
        return (yield from asked(SoundStep(self._model, codes)))
