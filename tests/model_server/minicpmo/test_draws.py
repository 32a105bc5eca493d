"""Draws by key: in step with the probabilities, and the same whatever else is drawn."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from model_server.minicpmo.network.draws import keyed_codes, keyed_text, picked, uniform
from model_server.minicpmo.network.sampling import TextSampling, distribution


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20).filter(any), st.floats(0, 1, exclude_max=True, width=32))
def test_nothing_of_probability_zero_is_picked(weights: list[int], number: float) -> None:
    probabilities = torch.tensor(weights, dtype=torch.float32) / sum(weights)
    place = int(picked(probabilities, number))
    assert weights[place] > 0
    below = sum(weights[:place]) / sum(weights)
    assert below - 1e-6 <= number <= below + weights[place] / sum(weights) + 1e-6


def test_the_greatest_number_picks_the_last_that_is_possible() -> None:
    assert int(picked(torch.tensor([0.3, 0.7, 0.0]), 1 - 2**-24)) == 1
    assert picked(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([0.4, 0.0])).tolist() == [0, 1]


def test_draws_are_distributed_as_asked() -> None:
    logits, options = torch.tensor([2.0, 1.0, 0.0, -1.0]), TextSampling(temperature=1.0, top_p=1.0)
    choose = keyed_text(options, 3)
    counts = torch.bincount(torch.tensor([int(choose(logits)) for _ in range(4000)]), minlength=4)
    assert (counts / 4000 - distribution(logits, options)).abs().max() < 0.03


def test_streams_steps_and_seeds_differ_and_repeat() -> None:
    keys = [(seed, stream, step, place) for seed in (1, 2) for stream in "ab" for step in (0, 1) for place in (0, 1)]
    numbers = [uniform(*key) for key in keys]
    assert len(set(numbers)) == len(keys)
    assert numbers == [uniform(*key) for key in keys]
    probabilities = torch.full((4, 626), 1 / 626)
    first, second = keyed_codes(7), keyed_codes(7)
    rows = [first(probabilities).tolist() for _ in range(3)]
    assert rows == [second(probabilities).tolist() for _ in range(3)]
    assert rows[0] != rows[1]
