"""The call's timer: not early, not late, and quiet while others do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from realtime.call.timer import KEPT_S, STEP_S, Timer


class Handle(asyncio.TimerHandle):
    def __init__(self, wait_s: float, fire: Callable[[], None]) -> None:
        self.wait_s, self.fire, self.dropped = wait_s, fire, False

    def cancel(self) -> None:
        self.dropped = True


class House:
    """A clock that stands still, a deadline, and what was set for it."""

    def __init__(self) -> None:
        self.now, self.due, self.fired = 10.0, 10.2, 0
        self.handles: list[Handle] = []
        self.timer = Timer(lambda: self.due, self.fire, lambda: self.now, self.call_later)
        self.timer.arm()

    def call_later(self, wait_s: float, fire: Callable[[], None]) -> Handle:
        self.handles.append(Handle(wait_s, fire))
        return self.handles[-1]

    def fire(self) -> None:
        self.fired += 1


def test_rounding_to_a_step_never_makes_it_early() -> None:
    house = House()
    for due in (10.2, 10.0004, 10.0005, 10.0249, 9.0):
        house.due = due
        house.timer.arm()
        rounded = round(house.handles[-1].wait_s / STEP_S) * STEP_S
        assert rounded >= due - house.now - 1e-9
        assert rounded <= max(0.0, due - house.now) + STEP_S + 1e-9


def test_it_fires_when_it_is_due_and_once() -> None:
    house = House()
    house.now = 10.2
    house.handles[0].fire()
    assert house.fired == 1
    assert len(house.handles) == 1


@pytest.mark.parametrize("now", [10.1, 10.1999])
def test_who_wakes_early_waits_for_the_rest(now: float) -> None:
    house = House()
    house.now = now
    house.handles[0].fire()
    assert house.fired == 0
    assert house.handles[-1].wait_s == pytest.approx(10.2 - now + STEP_S / 2)


def test_what_was_done_meanwhile_is_not_done_again() -> None:
    house = House()
    house.now, house.due = 10.2, 10.22
    house.handles[0].fire()
    assert house.fired == 0
    house.now = 10.22
    house.handles[-1].fire()
    assert house.fired == 1


def test_it_is_set_anew_for_what_is_sooner_or_much_later_only() -> None:
    house = House()
    house.due += KEPT_S / 2
    house.timer.arm()
    assert len(house.handles) == 1
    house.due = 10.1
    house.timer.arm()
    house.due = 10.4
    house.timer.arm()
    assert [handle.dropped for handle in house.handles] == [True, True, False]


def test_a_cancelled_one_is_silent_until_it_is_armed() -> None:
    house = House()
    house.timer.cancel()
    assert house.handles[0].dropped
    house.timer.arm()
    assert len(house.handles) == 2
