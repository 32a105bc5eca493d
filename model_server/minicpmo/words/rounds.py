"""The text of a round of tokens: what is held back, what is dropped, what is decoded (specification section 7.2)."""

from __future__ import annotations

from collections.abc import Sequence

from model_server.minicpmo.errors import ModelError
from model_server.minicpmo.words.tokens import TextTokenizer

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What the bytes of a character decode to while some of them are still to come."""

PAD = 0
"""The published code takes this id for padding wherever it stands; in this vocabulary it is `!` [Q1]."""


class EmptyRound(ModelError, IndexError):
    """A round that is nothing but id 0 (`!`), on which the published code fails [Q9]. Only number for number."""


def hold_back(tokenizer: TextTokenizer, held: Sequence[int], ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Ids that are ready to be decoded, and the shortest end of them that has to wait for the rest of its character.

    `held` are those that waited before. A broken character in the middle does not wait.
    """
    ready, waiting = [*held, *ids], 0
    while waiting < len(ready) and tokenizer.decode(ready[: len(ready) - waiting]).endswith(UNFINISHED):
        waiting += 1
    return ready[: len(ready) - waiting], ready[len(ready) - waiting :]


def decode_round(tokenizer: TextTokenizer, ids: Sequence[int], keep_exclamation_marks: bool = False) -> str:
    """The text of a round, without its leading bos, its terminator and, as published, without `!`.

    Raises `EmptyRound` if nothing but `!` was there and `!` is not kept.
    """
    special = tokenizer.specials
    kept = list(ids) if keep_exclamation_marks else [token for token in ids if token != PAD]
    if not keep_exclamation_marks and kept in ([], [special.im_start]):
        raise EmptyRound(f"a round of nothing but id {PAD} (`!`): expected other text in it, got {list(ids)}")
    if kept[:1] == [special.im_start]:
        kept = kept[1:]
    if kept and kept[-1] in special.terminators:
        kept = kept[:-1]
    return tokenizer.decode(kept)


class RoundText:
    """Round by round into text, characters whole."""

    def __init__(self, tokenizer: TextTokenizer, keep_exclamation_marks: bool, over: Sequence[int] = ()) -> None:
        """`over` are further tokens that end a reply and are no text of it, beside the two terminators."""
        self._tokenizer, self._keep, self._over = tokenizer, keep_exclamation_marks, tuple(over)
        self._held: list[int] = []

    @property
    def waiting(self) -> bool:
        """The last tokens end inside of a character."""
        return bool(self._held)

    def add(self, ids: Sequence[int]) -> str:
        """The text that became whole with a round. Raises `EmptyRound`, as published, and is then as before."""
        ready, held = hold_back(self._tokenizer, self._held, ids)
        while ready and ready[-1] in self._over:
            ready.pop()
        text = decode_round(self._tokenizer, ready, self._keep) if ready else ""
        self._held = held
        return text
