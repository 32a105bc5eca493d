"""The spoken reply exactly as published, quirks included (specification 7.3, 8.5, 8.6)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from torch import Tensor

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.replies.generation import Round
from model_server.minicpmo.replies.joining import Joiner
from model_server.minicpmo.replies.segment import SPARE_TOKENS, Piece, Segment, Voice, cut_behind
from model_server.minicpmo.replies.steps import Step, Steps, pulled
from model_server.minicpmo.words.spoken_text import OfficialText, sentence_end
from model_server.minicpmo.words.turns import SPEECH_END


class OfficialReply:
    """Speaks the rounds of one reply, which it pulls one by one."""

    def __init__(
        self, model: MiniCPMO, voice: Voice, rounds: Steps[Round], speaker: Callable[[], Tensor], early: bool
    ) -> None:
        """`speaker` gives the hidden state [hidden] at `<|spk|>` once the first round was pulled."""
        self._model, self._voice, self._early = model, voice, early
        self._rounds = rounds
        self._ahead: str | None = None
        """A round's text that was looked at and not taken."""
        self._speaker = speaker
        self._unsaid = ""

    def _received(self) -> Generator[Step[Any], Any, str | None]:
        """The next round's text, None behind the last."""
        if self._ahead is not None:
            text, self._ahead = self._ahead, None
            return text
        found = yield from pulled(self._rounds)
        if found is None:
            return None
        text = found.text.partition(SPEECH_END)[0]
        self._unsaid += text
        return text

    def run(self) -> Steps[Piece]:
        """Pieces in order, step by step; closing the generator abandons the reply."""
        preparer = OfficialText()
        first = yield from self._received()
        assert first is not None, "a reply has a round"
        text = preparer.add(first, first_round=True)
        segment = Segment(self._model, self._voice, self._speaker())
        while True:
            joiner = Joiner(early=self._early)
            rest = yield from self._speak(segment, preparer, text, joiner)
            yield from self._given(joiner.flush())
            if rest is None or segment.full:
                return
            text = self._model.speech_tokenizer.decode(segment.last_words) + rest
            segment = Segment(self._model, self._voice, self._speaker(), before=segment)
            self._ahead = yield from self._received()
            if not self._ahead:
                return
            preparer = OfficialText(text)

    def _speak(
        self, segment: Segment, preparer: OfficialText, text: str, joiner: Joiner
    ) -> Generator[Step[Any] | Piece, Any, str | None]:
        """All of one segment; the text left over behind a sentence's end for a further one, or None."""
        rest = None
        segment.read(text)
        while (raw := (yield from self._received())) is not None:
            text += preparer.add(raw)
            segment.read(text)
            mark = sentence_end(raw)
            if mark and segment.room <= SPARE_TOKENS:
                text, rest = cut_behind(text, mark)
                segment.read(text)
                break
            if segment.chunk_ready:
                segment.give_chunk()
                yield from self._given(joiner.feed((yield from segment.call())))
                if segment.finished:
                    return None
        segment.give_rest()
        while not segment.frames or not (segment.finished or segment.full):
            yield from self._given(joiner.feed((yield from segment.call())))
        return rest

    def _given(self, samples: Tensor) -> Generator[Piece]:
        if samples.numel():
            said, self._unsaid = self._unsaid, ""
            yield Piece(said, samples.cpu())
