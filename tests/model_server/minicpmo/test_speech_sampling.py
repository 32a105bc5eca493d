"""The draw of a frame of codes, against transformers' own warpers, by hand, and against chance."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.network.speech_sampling import (
    argmax,
    drawing_codes,
    frame_probabilities,
    keep_top_k,
    keep_top_p,
    penalised,
)

CONFIG = SpeechConfig(num_codes=7)
NONE = torch.empty(0, 4, dtype=torch.long)


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    return torch.randn(1000, 300, generator=torch.Generator().manual_seed(2)) * 3


@pytest.mark.parametrize("p", [0.01, 0.7, 0.95])
def test_top_p_is_that_of_transformers(rows: torch.Tensor, p: float) -> None:
    theirs = TopPLogitsWarper(p, min_tokens_to_keep=3)(torch.zeros(1000, 1, dtype=torch.long), rows)
    assert torch.equal(keep_top_p(rows, p), theirs)


@pytest.mark.parametrize("k", [1, 20, 1000])
def test_top_k_is_that_of_transformers(rows: torch.Tensor, k: int) -> None:
    theirs = TopKLogitsWarper(k, min_tokens_to_keep=3)(torch.zeros(1000, 1, dtype=torch.long), rows)
    assert torch.equal(keep_top_k(rows, k), theirs)


def test_temperatures_alternate_between_coarse_and_fine() -> None:
    logits = torch.zeros(4, 7)
    logits[:, 0] = 0.3
    found = frame_probabilities(CONFIG, logits, NONE, first=True, may_end=True)
    # e ** (0.3 / T) against six codes of 1.
    coarse, fine = 20.0855 / 26.0855, 2.71828 / 8.71828
    assert found[:, 0].tolist() == pytest.approx([coarse, fine, coarse, fine], abs=1e-5)


def test_the_first_step_is_not_filtered() -> None:
    logits = torch.arange(7.0).repeat(4, 1) * 0.12
    assert (frame_probabilities(CONFIG, logits, NONE, first=True, may_end=True) > 0).all()
    # The best two hold 0.91 at temperature 0.1, but three always stay; at 0.3 the best three hold 0.74.
    kept = (frame_probabilities(CONFIG, logits, NONE, first=False, may_end=True) > 0).sum(-1)
    assert kept.tolist() == [3, 3, 3, 3]


def test_a_forbidden_end_is_taken_out_behind_the_filters() -> None:
    logits = torch.arange(7.0).repeat(4, 1)
    found = frame_probabilities(CONFIG, logits, NONE, first=False, may_end=False)
    assert (found > 0).tolist() == [[False] * 4 + [True, True, False]] * 4


def test_top_p_comes_before_top_k() -> None:
    config = SpeechConfig(num_codes=8, top_p=0.7, top_k=4)
    # Seven like codes: 5 of them reach 0.7, of which the fourth best is as good as the fifth.
    logits = torch.tensor([0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, -9.0]).repeat(4, 1) * 0.1
    kept = (frame_probabilities(config, logits, NONE, first=False, may_end=True) > 0).sum(-1)
    assert kept.tolist() == [4] * 4
    # The other way round top-p would drop the least of the four that top-k leaves.
    assert (keep_top_p(keep_top_k(logits, 4), 0.7) > -torch.inf).sum(-1).tolist() == [3] * 4


def test_repetition_counts_the_last_sixteen_frames_of_its_own_codebook() -> None:
    frames = torch.zeros(20, 4, dtype=torch.long)
    frames[:, 1] = 1
    frames[3:5] = 2  # Frame 3 is out of the window, frame 4 is in it.
    scores = torch.full((4, 7), 2.0)
    scores[2] = -2.0
    found = penalised(scores, frames[-16:], 1.1)
    assert found[0, :3].tolist() == pytest.approx([2 / 1.1**15, 2, 2 / 1.1])
    assert found[1, :3].tolist() == pytest.approx([2, 2 / 1.1**15, 2 / 1.1])
    assert found[2, :3].tolist() == pytest.approx([-2 * 1.1**15, -2, -2 * 1.1])


def test_a_penalty_is_taken_from_the_configuration_and_not_at_the_first_step() -> None:
    config = SpeechConfig(num_codes=7, repetition_penalty=1.5, top_p=1.0, top_k=7)
    logits, frames = torch.ones(4, 7), torch.zeros(20, 4, dtype=torch.long)
    frames[3] = 5
    plain = frame_probabilities(config, logits, frames, first=True, may_end=True)
    assert torch.allclose(plain, torch.full((4, 7), 1 / 7))
    found = frame_probabilities(config, logits, frames, first=False, may_end=True)
    assert (found[:, 0] < found[:, 5]).all()
    assert torch.equal(found[:, 5], found[:, 6])


def test_argmax_takes_the_best_of_each_codebook() -> None:
    assert argmax(torch.tensor([[0.1, 0.9], [0.6, 0.4]])).tolist() == [1, 0]


def test_draws_follow_the_probabilities() -> None:
    probabilities = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]])
    choose = drawing_codes(torch.Generator().manual_seed(5))
    drawn = torch.stack([choose(probabilities) for _ in range(4000)])
    expected = probabilities.double() / probabilities.double().sum(1, keepdim=True) * len(drawn)
    for book in range(2):
        counts = torch.bincount(drawn[:, book], minlength=4).numpy()
        assert chisquare(counts, expected[book].numpy()).pvalue > 1e-3


def test_a_frame_is_one_draw_over_all_codebooks() -> None:
    probabilities = torch.rand(4, 50, generator=torch.Generator().manual_seed(1))
    whole = torch.Generator().manual_seed(9)
    expected = [torch.multinomial(probabilities, 1, generator=whole)[:, 0].tolist() for _ in range(3)]
    choose = drawing_codes(torch.Generator().manual_seed(9))
    assert [choose(probabilities).tolist() for _ in range(3)] == expected
