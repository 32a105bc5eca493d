"""What the benches of many calls compute from what they see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model_server.minicpmo.scheduling.batcher import Batcher
from tests.bench import batching
from tests.bench.calls import __main__ as calls_bench
from tests.bench.calls.device_time import OTHER, DeviceTime, Spent
from tests.bench.calls.figures import Figures, Result
from tests.bench.calls.load import last_unit, unit
from tests.bench.calls.playback import Playback
from tests.bench.calls.search import largest


def test_a_page_plays_from_the_first_piece_on_and_falls_silent_where_the_next_is_late() -> None:
    playback = Playback()
    assert (playback.ahead_s(5.0), playback.played_ms(5.0)) == (0.0, 0)
    assert playback.arrived(12_000, 10.0) == 0.0
    assert playback.arrived(12_000, 10.4) == 0.0
    assert (playback.dry_at, playback.played_ms(10.25)) == (11.0, 250)
    assert playback.arrived(24_000, 11.5) == 0.5
    assert (playback.dry_at, playback.made_s) == (12.5, 2.0)
    assert [playback.played_ms(now) for now in (11.5, 12.0, 99.0)] == [1_000, 1_500, 2_000]


def test_a_trial_holds_when_no_deadline_was_missed() -> None:
    result = Result(2, 10.0, Figures(units=[0.2, 1.0]), 4.0, 3.5, {"Stretch": 3.0, OTHER: 1.0}, {}, 10**9)
    result.figures.piece(0.0)
    assert result.holds
    result.figures.piece(0.001)
    assert not result.holds
    assert "MISSED" in result.lines()[0]
    assert not replace(result, figures=Figures(units=[1.01])).holds
    assert not replace(result, figures=Figures()).holds, "nothing was measured"


@pytest.mark.parametrize("limit", [0, 1, 3, 7, 40, 49, 64])
async def test_the_largest_number_is_found_within_a_sixteenth(limit: int) -> None:
    tried: list[int] = []

    async def holds(calls: int) -> bool:
        tried.append(calls)
        return calls <= limit

    found = await largest(holds, holds, first=2, most=64)
    assert limit - limit // 16 <= found <= limit
    assert len(tried) < 16
    assert max(tried) <= 64


async def test_what_holds_for_a_short_time_only_is_not_the_largest_number() -> None:
    async def short(calls: int) -> bool:
        return calls <= 50

    async def whole(calls: int) -> bool:
        return calls <= 44

    assert 40 <= await largest(short, whole, first=16, most=1024) <= 44


def test_the_device_s_time_is_told_by_kind() -> None:
    batcher, busy = Batcher(), [1.0]
    kinds = iter(("Stretch", "SpeechStep"))

    def tick() -> None:
        kind = next(kinds)
        batcher.counts[f"{kind}.passes"] += 1
        batcher.counts[f"{kind}.steps"] += 3

    batcher.tick = tick  # type: ignore[method-assign]
    timed = DeviceTime(batcher)
    spent = Spent(timed, lambda: {**batcher.counts, "busy_seconds": busy[0]})
    batcher.tick()
    batcher.tick()
    busy[0] = 3.0
    assert spent.busy == 2.0
    assert 0.0 <= spent.processor_s == timed.processor_s
    assert set(spent.kinds) == {"Stretch", "SpeechStep", OTHER}
    assert sum(spent.kinds.values()) == pytest.approx(2.0)
    assert spent.rows == {"SpeechStep": 3.0}


def test_units_are_whole_seconds_and_the_last_of_a_turn_is_as_long_as_the_person_spoke() -> None:
    assert (len(unit(3, True).audio), len(unit(3, True).pictures)) == (32_000, 1)
    assert [len(last_unit(1, False, seconds).audio) for seconds in (0.1, 0.52, 1.0)] == [6_400, 16_640, 32_000]
    assert last_unit(1, False, 0.5).last
    assert not unit(3, False).last


def test_a_cost_is_linear_as_long_as_an_added_call_costs_no_more_than_others() -> None:
    assert batching.worst_growth({1: 1.0, 2: 2.0, 4: 4.0}) == 1.0
    assert batching.worst_growth({1: 1.0, 2: 1.4, 4: 2.2}) == pytest.approx(1.0)
    assert batching.worst_growth({1: 1.0, 2: 1.4, 4: 3.4}) == pytest.approx(2.5)
    assert batching.costs({1: 1.0, 4: 2.0}) == {1: 1.0, 4: 2.0}


@pytest.mark.parametrize(
    "wrong", [["--speaking", "1.5"], ["--calls", "0"], ["--minutes", "0"], ["--size", "mid", "--model", "x"]]
)
def test_what_makes_no_sense_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        calls_bench.main(wrong)
