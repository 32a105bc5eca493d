"""The text of a reply, in rounds of three tokens (specification section 7.2)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from model_server.minicpmo.network.language import Language
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.network.sampling import TextChooser, TextSampling, forbidden, penalised
from model_server.minicpmo.replies.behaviour import Behaviour
from model_server.minicpmo.replies.steps import LanguageStep, Step, Steps, asked
from model_server.minicpmo.words.rounds import RoundText
from model_server.minicpmo.words.tokens import TextTokenizer

ROUND = 3
"""Tokens of a round."""


@dataclass(frozen=True, slots=True)
class Round:
    """Up to three tokens and the text they completed."""

    ids: tuple[int, ...]
    text: str


@dataclass(slots=True)
class Reply:
    """What a reply's text has come to so far."""

    ids: list[int] = field(default_factory=list)
    opening: Tensor | None = None
    """Hidden states [T, hidden] of the generation prompt, from the first round on."""
    speaker: Tensor | None = None
    """The one of them [hidden] at `<|spk|>`: the reply's voice."""
    unwritten: list[int] = field(default_factory=list)
    """Tokens that are drawn but not in the context: the last one, until the next is drawn."""
    rounds: list[Round] = field(default_factory=list)
    completed: bool = False
    """The reply ended by itself."""


class TextRounds:
    """Rounds of one reply, computed while they are pulled; the context holds their tokens but the last."""

    def __init__(
        self,
        language: Language,
        tokenizer: TextTokenizer,
        behaviour: Behaviour,
        options: TextSampling,
        choose: TextChooser,
        observe: Callable[[Tensor], None] = lambda logits: None,
    ) -> None:
        """`observe` is shown the raw logits [vocab] of every step."""
        self._language, self._specials = language, tokenizer.specials
        self._behaviour, self._options = behaviour, options
        self._choose, self._observe = choose, observe
        # The mended reply is over with its speech: what follows `<|tts_eos|>` is the terminator, or nobody's to hear.
        over = (self._specials.speech_end,) if behaviour.whole_messages else ()
        self._ends = (*self._specials.terminators, *over)
        self._text = RoundText(tokenizer, behaviour.keep_exclamation_marks, over)
        self.reply = Reply()
        self.most = language.config.max_positions
        """The context holds no more positions."""

    def run(self, prompt: list[int], cache: KVCache) -> Steps[Round]:
        """Answer behind `prompt`, step by step. A round that fails is not in the context; the rounds before it are."""
        reply, row = self.reply, prompt
        while True:
            before = cache.length
            try:
                ids = yield from self._round(row, cache)
                text = self._text.add(ids)
            except BaseException:
                cache.truncate(before)
                raise
            reply.ids += ids
            reply.unwritten = ids[-1:]
            reply.completed = ids[-1] in self._ends
            reply.rounds.append(Round(tuple(ids), text))
            yield reply.rounds[-1]
            if reply.completed or len(reply.ids) >= self._options.max_new_tokens:
                return
            if cache.length + ROUND > self.most:
                return
            row = ids[-1:]

    def _round(self, row: list[int], cache: KVCache) -> Generator[Step[Any], Any, list[int]]:
        """Up to three tokens behind `row`, which is not in the context yet."""
        ids: list[int] = []
        feed = row
        while True:
            chosen = partial(self._next, row, tuple(ids))
            decoded = yield from asked(LanguageStep(self._language, feed, cache, chosen))
            if self.reply.opening is None:
                self.reply.opening = decoded.hidden
                self.reply.speaker = decoded.hidden[last_place(feed, self._specials.speaker)]
            ids.append(decoded.id)
            if len(ids) == ROUND or ids[-1] in self._ends:
                return ids
            feed = ids[-1:]

    def _next(self, row: list[int], ids: tuple[int, ...], logits: Tensor) -> int | Tensor:
        self._observe(logits)
        whole, options = self._behaviour, self._options
        seen = [*(self.reply.ids if whole.penalty_over_reply else row), *ids]
        logits = penalised(logits, seen, options.repetition_penalty)
        drawn = len(ids) + (len(self.reply.ids) if whole.minimum_over_reply else 0)
        if drawn < options.min_new_tokens:
            logits = forbidden(logits, self._ends)
        return self._choose(logits)


def last_place(ids: list[int], token: int) -> int:
    """Where a token stands last; what a cut reply left over stands before it and may hold anything."""
    return len(ids) - 1 - ids[::-1].index(token)
