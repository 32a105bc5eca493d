"""The unit cutter: every sample of the call in exactly one unit, whatever the appends and the turns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.media.decoder import Samples
from realtime.media.units import CutGone, CutUnit, UnitCutter

SECOND = 16_000


def line(count: int, start: int = 0) -> Samples:
    """`count` samples of a call, each with a value that tells its place."""
    return ((np.arange(start, start + count) * 7919) % 65_536 - 32_768).astype(np.int16)


def after(seconds: float) -> UnitCutter:
    """A cutter that took so much of `line`."""
    cutter = UnitCutter()
    cutter.append(line(round(seconds * SECOND)))
    return cutter


def facts(unit: CutUnit) -> tuple[int, bytes, bytes, list[bytes], bool, bool]:
    return unit.start, unit.samples.tobytes(), unit.padded, unit.pictures, unit.last, unit.voiced


def test_a_unit_closes_with_each_second() -> None:
    cutter = UnitCutter()
    assert cutter.append(line(15_999)) == []
    (unit,) = cutter.append(line(1, 15_999))
    assert facts(unit) == (0, line(SECOND).tobytes(), line(SECOND).tobytes(), [], False, False)
    first, second = cutter.append(line(2 * SECOND + 5, SECOND))
    assert (first.start, second.start, cutter.start, cutter.end) == (SECOND, 2 * SECOND, 3 * SECOND, 3 * SECOND + 5)


@pytest.mark.parametrize(
    ("tail", "padded"), [(1, 3_200), (3_199, 3_200), (3_200, 3_200), (3_201, 3_840), (15_999, 16_000), (6_400, 6_400)]
)
def test_the_last_unit_of_a_turn_is_padded_to_what_the_model_takes(tail: int, padded: int) -> None:
    cutter = UnitCutter()
    cutter.append(line(tail))
    unit = cutter.cut_turn()

    assert unit is not None
    assert unit.last
    assert unit.samples.tobytes() == line(tail).tobytes()
    assert unit.padded == line(tail).tobytes() + bytes(2 * (padded - tail))
    (following,) = cutter.append(line(SECOND, tail))
    assert following.start == tail
    assert not following.last


def test_a_turn_that_ends_with_a_whole_second_leaves_nothing_to_cut() -> None:
    cutter = after(2.0)
    assert cutter.cut_turn() is None
    (unit,) = cutter.append(line(SECOND, 2 * SECOND))
    assert [facts(again) for again in cutter.cancel_cut()] == [facts(unit)]


def test_an_unsent_whole_second_becomes_the_last_of_its_turn() -> None:
    cutter = UnitCutter()
    (before,) = cutter.append(line(SECOND))
    unit = cutter.cut_turn(before)

    assert unit is not None
    assert facts(unit) == (0, before.padded, before.padded, [], True, False)


def test_a_tail_too_short_joins_an_unsent_short_unit() -> None:
    cutter = after(0.25)
    cutter.picture(b"one")
    before = cutter.cut_turn()
    assert before is not None
    cutter.append(line(1_000, 4_000))
    unit = cutter.cut_turn(before)

    assert unit is not None
    assert (unit.start, unit.end, unit.pictures) == (0, 5_000, [b"one"])
    assert unit.samples.tobytes() == line(5_000).tobytes()
    assert len(unit.padded) == 2 * 5_120
    assert cutter.start == 5_000


@pytest.mark.parametrize(("before_s", "tail"), [(1.0, 1_000), (0.25, 3_200)])
def test_a_tail_that_does_not_fit_or_need_it_stands_alone(before_s: float, tail: int) -> None:
    cutter = UnitCutter()
    closed = cutter.append(line(round(before_s * SECOND)))
    before = closed[0] if closed else cutter.cut_turn()
    cutter.append(line(tail, round(before_s * SECOND)))
    unit = cutter.cut_turn(before)

    assert unit is not None
    assert (unit.start, len(unit.samples)) == (round(before_s * SECOND), tail)


def test_only_the_unit_right_before_can_be_joined() -> None:
    cutter = UnitCutter()
    first, _ = cutter.append(line(2 * SECOND + 100))
    with pytest.raises(ValueError, match="ends at sample 32000, got one that ends at 16000"):
        cutter.cut_turn(first)
    assert cutter.end == 2 * SECOND + 100


@pytest.mark.parametrize("gone_on", [0, 100, 9_000, 15_999])
def test_a_cancelled_cut_goes_out_again_in_the_full_unit(gone_on: int) -> None:
    cutter = after(0.5)
    cutter.voice_from(1_000)
    cutter.picture(b"face")
    assert cutter.cut_turn() is not None
    units = cutter.append(line(gone_on, 8_000))
    units += cutter.cancel_cut()
    units += cutter.append(line(SECOND - gone_on, 8_000 + gone_on))

    whole = UnitCutter()
    whole.voice_from(1_000)
    whole.picture(b"face")
    assert [facts(unit) for unit in units] == [facts(unit) for unit in whole.append(line(SECOND + 8_000))]


def test_a_cut_can_be_cancelled_ten_times_without_a_trace() -> None:
    cutter = after(0.5)
    for step in range(10):
        assert cutter.cut_turn() is not None
        cutter.append(line(10, 8_000 + 10 * step))
        assert cutter.cancel_cut() == []
    (unit,) = cutter.append(line(7_900, 8_100))
    assert facts(unit) == (0, line(SECOND).tobytes(), line(SECOND).tobytes(), [], False, False)


@pytest.mark.parametrize("gone_on", [0, 100, 7_999, 8_000, 30_000, 60_000])
def test_a_cancelled_cut_cuts_the_units_behind_it_again(gone_on: int) -> None:
    """As if the turn had never been cut: the same samples, the same pictures in the same seconds."""

    def play(cutter: UnitCutter, start: int, count: int) -> list[CutUnit]:
        units = []
        for position in range(start, start + count, 500):
            if position % 3_000 == 0:
                cutter.picture(f"picture at {position}".encode())
            units += cutter.append(line(min(500, start + count - position), position))
        return units

    cutter, whole = UnitCutter(), UnitCutter()
    for each in (cutter, whole):
        each.voice_from(1_000)
    units = play(cutter, 0, 28_000)
    assert cutter.cut_turn() is not None
    play(cutter, 28_000, gone_on)
    units += cutter.cancel_cut()
    units += play(cutter, 28_000 + gone_on, SECOND)
    expected = play(whole, 0, 28_000) + play(whole, 28_000, gone_on) + play(whole, 28_000 + gone_on, SECOND)
    assert [facts(unit) for unit in units] == [facts(unit) for unit in expected]


def test_a_cut_is_gone_once_confirmed_or_long_ago() -> None:
    cutter = after(0.5)
    with pytest.raises(CutGone, match="none was made"):
        cutter.cancel_cut()
    cutter.cut_turn()
    cutter.confirm_cut()
    assert not cutter.can_cancel
    cutter.append(line(4_000, 8_000))
    cutter.cut_turn()
    assert cutter.can_cancel
    cutter.append(line(13 * SECOND, 12_000))
    with pytest.raises(CutGone, match="too long ago"):
        cutter.cancel_cut()
    assert cutter.end == 12_000 + 13 * SECOND


def test_the_newest_picture_of_a_second_goes_with_it_once() -> None:
    cutter = after(0.5)
    cutter.picture(b"old")
    cutter.picture(b"new")
    first, second = cutter.append(line(2 * SECOND, 8_000))
    assert (first.pictures, second.pictures) == ([b"new"], [])


@pytest.mark.parametrize(
    ("start", "end", "voiced"),
    [
        (15_999, 16_001, [True, True, False]),
        (16_000, 32_000, [False, True, False]),
        (0, 16_000, [True, False, False]),
        (20_000, None, [False, True, True]),
    ],
)
def test_a_unit_is_voiced_when_speech_touches_it(start: int, end: int | None, voiced: list[bool]) -> None:
    cutter = UnitCutter()
    cutter.voice_from(start)
    if end is not None:
        cutter.voice_until(end)
    assert [unit.voiced for unit in cutter.append(line(3 * SECOND))] == voiced


def test_speech_that_begins_again_in_the_same_second_is_remembered() -> None:
    cutter = UnitCutter()
    for start, end in [(100, 200), (20_000, 21_000)]:
        cutter.voice_from(start)
        cutter.voice_until(end)
    assert [unit.voiced for unit in cutter.append(line(3 * SECOND))] == [True, True, False]


CHUNKS = st.lists(st.integers(0, 20_000), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(chunks=CHUNKS, marks=st.lists(st.integers(0, 60_000), max_size=4))
def test_appends_of_any_size_give_the_same_units(chunks: list[int], marks: list[int]) -> None:
    total = sum(chunks)

    def cut(sizes: list[int]) -> list[CutUnit]:
        cutter, units, position = UnitCutter(), [], 0
        for start, end in zip(sorted(marks)[::2], sorted(marks)[1::2], strict=False):
            cutter.voice_from(start)
            cutter.voice_until(end)
        for size in sizes:
            units += cutter.append(line(size, position))
            position += size
        return units

    assert [facts(unit) for unit in cut(chunks)] == [facts(unit) for unit in cut([1, max(0, total - 1)])][
        : len(cut(chunks))
    ]
    assert len(cut(chunks)) == total // SECOND


ACTIONS = st.lists(
    st.one_of(
        st.integers(0, 40_000), st.sampled_from(["cut", "join", "cancel", "confirm", "picture", "voice", "still"])
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(actions=ACTIONS)
def test_every_sample_of_the_call_is_in_exactly_one_unit(actions: list[int | str]) -> None:
    cutter, position, cut_start = UnitCutter(), 0, 0
    units: list[CutUnit] = []
    for action in actions:
        if isinstance(action, int):
            units += cutter.append(line(action, position))
            position += action
        elif action == "cut":
            cut_start = cutter.start
            units += [unit] if (unit := cutter.cut_turn()) else []
        elif action == "join" and units:
            before, cut_start = units.pop(), cutter.start
            joined = cutter.cut_turn(before)
            if joined is None:
                units.append(before)
            else:
                units += [joined] if joined.start == before.start else [before, joined]
                cut_start = joined.start
        elif action == "cancel" and cutter.can_cancel:
            units = [unit for unit in units if unit.start < cut_start] + cutter.cancel_cut()
        elif action == "confirm":
            cutter.confirm_cut()
        elif action == "picture":
            cutter.picture(b"jpeg")
        elif action == "voice":
            cutter.voice_from(position)
        elif action == "still":
            cutter.voice_until(position)

    expected = 0
    for unit in units:
        assert unit.start == expected
        assert unit.samples.tobytes() == line(len(unit.samples), unit.start).tobytes()
        assert unit.padded.startswith(unit.samples.tobytes())
        size = len(unit.padded) // 2
        assert size == SECOND if not unit.last else 3_200 <= size <= SECOND
        assert size % 640 == 0
        expected = unit.end
    assert cutter.start == expected
    assert cutter.end == position
