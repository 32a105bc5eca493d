"""How many calls fit, from measured costs."""

from __future__ import annotations

from itertools import count

import pytest

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.scheduling.measuring import MOST_LOAD, Cost, measured, most_calls


@pytest.mark.parametrize(
    ("cost", "calls"),
    [
        (Cost(unit=0.0, one=0.1, four=0.1), 64),  # All of it is shared.
        (Cost(unit=0.099, one=0.0, four=0.0), 10),  # Nothing is.
        (Cost(unit=0.0, one=0.2, four=0.8), 11),
        (Cost(unit=2.0, one=3.0, four=9.0), 1),  # Too slow for one: that one is taken.
        (Cost(unit=0.02, one=0.3, four=0.45), 15),
    ],
)
def test_calls_that_fit(cost: Cost, calls: int) -> None:
    assert most_calls(cost, 64) == calls
    assert calls in (1, 64) or cost.load(calls) <= MOST_LOAD < cost.load(calls + 1)


def test_the_load_grows_with_every_call() -> None:
    loads = [Cost(0.01, 0.3, 0.5).load(calls) for calls in range(1, 30)]
    assert loads == sorted(loads)


def test_work_is_counted_by_the_clock(model: MiniCPMO) -> None:
    """Every look at this clock is a second, so what is measured is how often it is looked at."""
    ticks = count()
    cost = measured(model, lambda: float(next(ticks)), passes=5)
    assert cost.unit == 1.0
    # Four replies that begin together share all their passes: as many as one makes.
    assert cost.one == pytest.approx(cost.four, rel=0.1)
