"""The spoken reply as people want it: no text lost or spoken twice, no seams, an end when there is nothing to say.

Every frame sees the text that it sees in the published schedule (10 tokens more every 50 frames), but text is made no
earlier than that needs: at most two chunks ahead of the voice, so that little is undone where a person interrupts. What
else differs stands in the specification's section 10 and in `behaviour.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.replies.generation import Round
from model_server.minicpmo.replies.joining import Joiner
from model_server.minicpmo.replies.segment import SPARE_TOKENS, Piece, Segment, Voice, cut_behind
from model_server.minicpmo.replies.silence import Silence
from model_server.minicpmo.replies.steps import Step, Steps, pulled
from model_server.minicpmo.words.spoken_text import PlainText, sentence_end, split_point

TIGHT_TOKENS = 60
"""Where there is room for no more text tokens than these, a sentence without an end is split at a clause."""

SPARE_FRAMES, FRAMES_PER_TOKEN = 100, 12
"""A segment may speak at most this long: more than twice what its text takes."""

WORTH_SPEAKING = 5
"""Text tokens left unspoken that are worth a segment of their own."""


class SpokenReply:
    """Speaks the rounds of one reply, which it pulls one by one. Text is given at once, sound when it is there."""

    def __init__(
        self, model: MiniCPMO, voice: Voice, rounds: Steps[Round], speaker: Callable[[], Tensor], early: bool
    ) -> None:
        """`speaker` gives the hidden state [hidden] at `<|spk|>` once the first round was pulled."""
        self._model, self._voice, self._speaker = model, voice, speaker
        self._rounds: Steps[Round] | None = rounds
        self._joiner = Joiner(early=early)
        self._preparer = PlainText()
        voice.timeline.begin(self._preparer.places)
        self._silence = Silence()
        self._text = ""
        """Prepared text that the present segment has to speak."""
        self._judged = 0
        """How much of it was searched for an end."""

    def run(self) -> Steps[Piece]:
        """Pieces in order, step by step; closing the generator abandons the reply."""
        before: Segment | None = None
        while True:
            while self._rounds is not None and not self._text.strip():
                yield from self._listen()
            if not self._text.strip():
                break
            segment = Segment(self._model, self._voice, self._speaker(), before)
            segment.head = before.last_words if before else []
            before = None  # Its keys and values are not needed any more.
            self._silence, self._judged = Silence(), 0
            self._text = yield from self._speak(segment)
            before = segment
        yield from self._given(self._joiner.flush())

    def _listen(self) -> Steps[Piece]:
        """Pull a round; when there is none, what the preparer held back is the end of the text."""
        found = (yield from pulled(self._rounds)) if self._rounds is not None else None
        if found is None:
            self._rounds = None
            self._text += self._preparer.finish()
            return
        self._text += self._preparer.add(found.text)
        if found.text:
            yield Piece(found.text, torch.zeros(0))

    def _speak(self, segment: Segment) -> Generator[Step[Any] | Piece, Any, str]:
        """One segment. Returns the text that a further one has to speak."""
        rest: str | None = None
        while rest is None:
            rest = self._cut(segment)
            while rest is None and self._may_call(segment):
                yield from self._call(segment)
                if self._over(segment):
                    return self._left_over(segment, "")
            if self._rounds is None:
                break
            if rest is None:
                yield from self._listen()
        segment.give_rest()
        yield from self._call(segment)
        while not self._over(segment):
            yield from self._call(segment)
        return self._left_over(segment, rest or "")

    def _cut(self, segment: Segment) -> str | None:
        """Give the segment its text; if the new text ends it, cut it there and return what is left over."""
        new, self._judged = self._text[self._judged :], len(self._text)
        segment.read(self._text)
        mark, fitting = sentence_end(new), segment.fitting(self._text)
        if mark and segment.room <= SPARE_TOKENS and fitting == self._text:
            text, _ = cut_behind(self._text, mark)
        elif segment.room <= TIGHT_TOKENS and (at := self._split(segment, fitting)):
            text = self._text[:at]
        else:
            return None
        segment.read(text)
        return self._text[len(text) :]

    def _split(self, segment: Segment, fitting: str) -> int | None:
        """Where a text without an end is cut: behind what the speech model was given, for that is spoken."""
        given = len(segment.given)
        if at := split_point(fitting[given:]):
            return given + at
        return None if fitting == self._text else len(fitting)

    def _may_call(self, segment: Segment) -> bool:
        """Whether all the text is there that the next 25 frames see; text behind that is not waited for."""
        wanted = segment.chunks_in_sight
        if segment.count < wanted * self._model.config.speech.text_chunk:
            return False
        while segment.chunks < wanted:
            segment.give_chunk()
        return True

    def _call(self, segment: Segment) -> Steps[Piece]:
        piece = yield from segment.call()
        self._voice.timeline.spoke(segment.key, segment.spoken(self._preparer.spoken - len(self._text)))
        given = self._joiner.feed(piece)
        self._silence.hear(given)  # Not the piece itself, which repeats samples of the one before it.
        yield from self._given(given)

    def _over(self, segment: Segment) -> bool:
        most = SPARE_FRAMES + FRAMES_PER_TOKEN * segment.count
        return segment.finished or segment.full or self._silence.long or segment.frames > most

    def _left_over(self, segment: Segment, rest: str) -> str:
        """What the segment leaves to the next one, `rest` behind it; of the reply's last words only a few may go."""
        text = segment.unspoken
        if not rest.strip() and self._rounds is None and segment.tokens(text) < WORTH_SPEAKING:
            return rest
        # The next segment starts from the last words that were spoken.
        segment.read(segment.text.removesuffix(text))
        return text + rest

    def _given(self, samples: Tensor) -> Generator[Piece]:
        if samples.numel():
            yield Piece("", samples.cpu())
