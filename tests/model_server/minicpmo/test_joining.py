"""Pieces of sound are cross-faded, and come out the same whether early or held back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.replies.joining import Joiner


def test_two_pieces_by_hand() -> None:
    joiner = Joiner(2, early=False)
    assert joiner.feed(torch.tensor([1.0, 2.0, 3.0, 6.0])).tolist() == []
    # The first of two overlapping samples is 2/3 old and 1/3 new, the second 1/3 old and 2/3 new.
    assert joiner.feed(torch.tensor([6.0, 9.0, 5.0, 7.0])).tolist() == [1.0, 2.0, 4.0, 8.0]
    assert joiner.flush().tolist() == [5.0, 7.0]
    assert joiner.flush().tolist() == []


def test_early_gives_all_but_the_overlap() -> None:
    joiner = Joiner(2, early=True)
    assert joiner.feed(torch.tensor([1.0, 2.0, 3.0, 6.0])).tolist() == [1.0, 2.0]
    assert joiner.feed(torch.tensor([6.0, 9.0, 5.0, 7.0, 8.0])).tolist() == [4.0, 8.0, 5.0]
    assert joiner.flush().tolist() == [7.0, 8.0]


def test_a_piece_that_goes_on_as_before_leaves_no_trace_of_the_seam() -> None:
    wave = torch.sin(torch.arange(20_000) * 0.01)
    joiner = Joiner(early=True)
    parts = [joiner.feed(wave[:12_800]), joiner.feed(wave[12_800 - 2048 :]), joiner.flush()]
    assert torch.allclose(torch.cat(parts), wave, atol=1e-6)


@given(st.lists(st.integers(8, 40), max_size=6), st.integers(0, 10_000))
def test_early_and_held_back_are_the_same_sound(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pieces = [torch.randn(length, generator=generator) for length in lengths]
    both = []
    for early in (False, True):
        joiner = Joiner(4, early=early)
        both.append(torch.cat([*[joiner.feed(piece) for piece in pieces], joiner.flush()]))
    assert torch.equal(*both)
    assert len(both[0]) == sum(lengths) - 4 * max(len(lengths) - 1, 0)


@pytest.mark.parametrize("early", [False, True])
def test_a_piece_too_short_is_refused_and_changes_nothing(early: bool) -> None:
    joiner = Joiner(2, early=early)
    with pytest.raises(InputError, match=r"at least 2 samples in one row, got \(1,\)"):
        joiner.feed(torch.zeros(1))
    given_first = joiner.feed(torch.ones(4))
    with pytest.raises(InputError, match=r"at least 4 samples in one row, got \(3,\)"):
        joiner.feed(torch.zeros(3))
    assert torch.cat((given_first, joiner.flush())).tolist() == [1.0, 1.0, 1.0, 1.0]
