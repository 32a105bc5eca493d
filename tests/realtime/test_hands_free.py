"""When tap-to-talk is offered: tables of levels."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from realtime.floor.hands_free import QUIET_S, TOO_LOUD_S, HandsFree

PERSON_DB = -26.0


def offers(
    levels: Sequence[tuple[float | None, float]], hands_free: HandsFree | None = None, start: float = 0.0
) -> int:
    """How often it is offered; `levels`: echo and room against the person, one each second."""
    hands_free = hands_free or HandsFree()
    return sum(
        hands_free.feed(PERSON_DB, None if echo is None else PERSON_DB + echo, PERSON_DB + room, start + second)
        for second, (echo, room) in enumerate(levels)
    )


@pytest.mark.parametrize(
    ("echo", "room", "offered"),
    [(None, -20, 0), (-10, -20, 0), (-7, -20, 0), (-5, -20, 1), (None, -4, 0), (None, -2, 1), (-1, -1, 1)],
)
def test_it_is_offered_once_where_echo_or_noise_is_nearly_as_loud_as_the_person(
    echo: float | None, room: float, offered: int
) -> None:
    assert offers([(echo, room)] * 60) == offered


def test_a_moment_of_it_is_nothing() -> None:
    assert offers([(-1, -30)] * int(TOO_LOUD_S) + [(-10, -30)] + [(-1, -30)] * int(TOO_LOUD_S)) == 0


def test_it_is_offered_again_only_after_a_long_quiet() -> None:
    loud, softer, quiet = (-1.0, -30.0), (-8.0, -30.0), (-12.0, -30.0)
    assert offers([loud] * 5 + [softer] * 60 + [loud] * 5) == 1
    assert offers([loud] * 5 + [quiet] * int(QUIET_S / 2) + [loud] * 5) == 1
    assert offers([loud] * 5 + [quiet] * int(QUIET_S + 2) + [loud] * 5) == 2


def test_nothing_is_said_of_a_person_whose_level_nobody_knows() -> None:
    hands_free = HandsFree()
    assert not any(hands_free.feed(None, -20.0, -20.0, float(second)) for second in range(30))
