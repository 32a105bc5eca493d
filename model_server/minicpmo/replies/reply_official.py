"""The spoken reply exactly as published, quirks included (specification 7.3, 8.5, 8.6)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import chain

from torch import Tensor

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.replies.generation import Round
from model_server.minicpmo.replies.joining import Joiner
from model_server.minicpmo.replies.segment import SPARE_TOKENS, Piece, Segment, Voice, cut_behind
from model_server.minicpmo.words.spoken_text import OfficialText, sentence_end
from model_server.minicpmo.words.turns import SPEECH_END


class OfficialReply:
    """Speaks the rounds of one reply, which it pulls one by one."""

    def __init__(
        self, model: MiniCPMO, voice: Voice, rounds: Iterator[Round], speaker: Callable[[], Tensor], early: bool
    ) -> None:
        """`speaker` gives the hidden state [hidden] at `<|spk|>` once the first round was pulled."""
        self._model, self._voice, self._early = model, voice, early
        self._texts: Iterator[str] = (self._received(found) for found in rounds)
        self._speaker = speaker
        self._unsaid = ""

    def _received(self, found: Round) -> str:
        text = found.text.partition(SPEECH_END)[0]
        self._unsaid += text
        return text

    def run(self) -> Generator[Piece]:
        """Pieces in order; closing the generator abandons the reply."""
        preparer = OfficialText()
        text = preparer.add(next(self._texts), first_round=True)
        segment = Segment(self._model, self._voice, self._speaker())
        while True:
            joiner = Joiner(early=self._early)
            rest = yield from self._speak(segment, preparer, text, joiner)
            yield from self._given(joiner.flush())
            if rest is None or segment.full:
                return
            text = self._model.speech_tokenizer.decode(segment.last_words) + rest
            segment = Segment(self._model, self._voice, self._speaker(), before=segment)
            first = next(self._texts, "")
            if not first:
                return
            self._texts = chain([first], self._texts)
            preparer = OfficialText(text)

    def _speak(
        self, segment: Segment, preparer: OfficialText, text: str, joiner: Joiner
    ) -> Generator[Piece, None, str | None]:
        """All of one segment; the text left over behind a sentence's end for a further one, or None."""
        rest = None
        segment.read(text)
        for raw in self._texts:
            text += preparer.add(raw)
            segment.read(text)
            mark = sentence_end(raw)
            if mark and segment.room <= SPARE_TOKENS:
                text, rest = cut_behind(text, mark)
                segment.read(text)
                break
            if segment.chunk_ready:
                segment.give_chunk()
                yield from self._given(joiner.feed(segment.call()))
                if segment.finished:
                    return None
        segment.give_rest()
        while not segment.frames or not (segment.finished or segment.full):
            yield from self._given(joiner.feed(segment.call()))
        return rest

    def _given(self, samples: Tensor) -> Generator[Piece]:
        if samples.numel():
            said, self._unsaid = self._unsaid, ""
            yield Piece(said, samples.cpu())
