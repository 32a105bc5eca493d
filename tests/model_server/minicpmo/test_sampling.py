"""The draw of the next token, against transformers' own warpers and against chance."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.network.sampling import (
    TextSampling,
    distribution,
    drawing,
    forbidden,
    greedy,
    penalised,
    top_k,
    top_p,
)

ROWS, VOCABULARY = 1000, 300


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    return torch.randn(ROWS, VOCABULARY, generator=torch.Generator().manual_seed(1)) * 3


@pytest.mark.parametrize("k", [1, 20, 100, 1000])
def test_top_k_is_that_of_transformers(rows: torch.Tensor, k: int) -> None:
    assert torch.equal(top_k(rows, k), TopKLogitsWarper(k)(torch.zeros(ROWS, 1, dtype=torch.long), rows))


@pytest.mark.parametrize(("p", "least"), [(0.8, 1), (0.7, 3), (0.05, 1), (0.999, 2)])
def test_top_p_is_that_of_transformers(rows: torch.Tensor, p: float, least: int) -> None:
    theirs = TopPLogitsWarper(p, min_tokens_to_keep=least)(torch.zeros(ROWS, 1, dtype=torch.long), rows)
    assert torch.equal(top_p(rows, p, least), theirs)


def test_the_repetition_penalty_is_that_of_transformers(rows: torch.Tensor) -> None:
    ids = [5, 7, 5, 299]
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([ids] * ROWS), rows)
    assert torch.equal(torch.stack([penalised(row, ids, 1.3) for row in rows]), theirs)
    assert torch.equal(penalised(rows[0], [], 1.3), rows[0])


def test_draws_follow_the_distribution() -> None:
    options = TextSampling(top_k=12, top_p=0.95)
    logits = torch.linspace(0, 3, 40)
    choose = drawing(options, torch.Generator().manual_seed(9))
    counts = torch.bincount(torch.tensor([choose(logits) for _ in range(4000)]), minlength=40)
    expected = distribution(logits, options) * 4000
    allowed = expected > 0
    assert 8 <= int(allowed.sum()) <= 12
    assert int(counts[~allowed].sum()) == 0
    assert chisquare(counts[allowed].double(), expected[allowed].double(), sum_check=False).pvalue > 0.001


def test_the_same_seed_draws_the_same() -> None:
    logits = torch.linspace(0, 3, 40)
    first, second = (drawing(TextSampling(), torch.Generator().manual_seed(3)) for _ in range(2))
    assert [first(logits) for _ in range(20)] == [second(logits) for _ in range(20)]


def test_greedy_takes_the_likeliest_that_is_allowed() -> None:
    logits = torch.tensor([0.0, 3.0, 2.0])
    assert greedy(logits) == 1
    assert greedy(forbidden(logits, [1])) == 2
    assert drawing(TextSampling(do_sample=False), torch.Generator())(logits) == 1


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("temperature", 0.0, "temperature: expected 0.01 to 10, got 0"),
        ("top_k", 0, "top_k: expected 1"),
        ("top_p", 1.5, "top_p: expected"),
        ("repetition_penalty", float("nan"), "repetition_penalty: expected"),
        ("max_new_tokens", 0, "max_new_tokens: expected 1 to 32768, got 0"),
        ("min_new_tokens", -1, "min_new_tokens: expected 0"),
    ],
)
def test_settings_out_of_range_are_named(field: str, value: float, says: str) -> None:
    with pytest.raises(InputError, match=says.replace(".", r"\.")):
        TextSampling(**{field: value})  # type: ignore[arg-type]
