"""The next token of the language model from its logits (specification section 7.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model_server.minicpmo.errors import InputError


@dataclass(frozen=True, slots=True)
class TextSampling:
    """How the text of a reply is drawn; `max_new_tokens` in whole rounds of three, the last one may pass it by two.

    Raises `InputError` naming field and range.
    """

    temperature: float = 0.7
    top_k: int = 100
    top_p: float = 0.8
    repetition_penalty: float = 1.05
    do_sample: bool = True
    min_new_tokens: int = 0
    max_new_tokens: int = 512

    def __post_init__(self) -> None:
        _within("temperature", self.temperature, 0.01, 10)
        _within("top_k", self.top_k, 1, 1_000_000)
        _within("top_p", self.top_p, 0.0001, 1)
        _within("repetition_penalty", self.repetition_penalty, 0.1, 10)
        _within("min_new_tokens", self.min_new_tokens, 0, 32768)
        _within("max_new_tokens", self.max_new_tokens, 1, 32768)


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InputError(f"{name}: expected {least:g} to {most:g}, got {value:g}")


def penalised(logits: Tensor, ids: Sequence[int], penalty: float) -> Tensor:
    """Logits [vocab] with every id of `ids` made less likely (arXiv 1909.05858)."""
    if penalty == 1 or not ids:
        return logits
    index = torch.tensor(sorted(set(ids)), device=logits.device)
    scores = logits[index]
    return logits.index_copy(0, index, torch.where(scores < 0, scores * penalty, scores / penalty))


def forbidden(logits: Tensor, ids: Sequence[int]) -> Tensor:
    """Logits [vocab] without `ids`."""
    return logits.index_fill(0, torch.tensor(list(ids), device=logits.device), float("-inf"))


def top_k(logits: Tensor, k: int) -> Tensor:
    """Logits [..., vocab] of the k likeliest (and of what equals the last of them)."""
    kth = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < kth, float("-inf"))


def top_p(logits: Tensor, p: float, at_least: int = 1) -> Tensor:
    """Logits [..., vocab] of the smallest set whose probability reaches p (arXiv 1904.09751)."""
    ascending, order = logits.sort(descending=False)
    removed = ascending.softmax(-1).cumsum(-1) <= 1 - p
    removed[..., -at_least:] = False
    return logits.masked_fill(removed.scatter(-1, order, removed), float("-inf"))


def distribution(logits: Tensor, options: TextSampling) -> Tensor:
    """Probabilities [vocab] of the draw, of penalised logits."""
    return top_p(top_k(logits / options.temperature, options.top_k), options.top_p).softmax(-1)


MOST_SEED = 2**63 - 1


def seeded(seed: int | None) -> torch.Generator:
    """A source of draws, repeatable with a seed. Raises `InputError` for a seed outside its range."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    elif not 0 <= seed <= MOST_SEED:
        raise InputError(f"seed: expected 0 to {MOST_SEED}, got {seed}")
    else:
        generator.manual_seed(seed)
    return generator


TextChooser = Callable[[Tensor], int | Tensor]
"""The next id, from penalised logits [vocab]: a number, or a tensor of one, which need not be read at once."""


def greedy(logits: Tensor) -> int:
    """The likeliest."""
    return int(logits.argmax())


def drawing(options: TextSampling, generator: torch.Generator) -> TextChooser:
    """A draw as `options` say; greedy where they say so."""
    if not options.do_sample:
        return greedy

    def draw(logits: Tensor) -> int:
        # A generator draws on its own device only.
        return int(torch.multinomial(distribution(logits, options).to(generator.device)[None], 1, generator=generator))

    return draw
