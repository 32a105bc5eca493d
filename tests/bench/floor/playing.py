"""All calls of a run, in processes side by side."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context

import structlog

from tests.bench.floor.conditions import Condition, parse
from tests.bench.floor.rows import load
from tests.bench.floor.scenarios import play
from tests.bench.floor.verdicts import Figures

CALLS = {"pauses": 40, "words": 80, "backchannels": 60, "interruptions": 80, "noises": 60, "alone": 10}
JUDGED_ECHO_CALLS = 20
"""Ten minutes of the assistant at the echo that is judged."""

SWEEP_CALLS = 12

Task = tuple[str, int, int]
"""A condition's name, the seed, the call's number."""


def calls_of(condition: Condition, quick: bool) -> int:
    """How many calls are played."""
    if (
        condition.engine_ms
        or condition.silence_ms is not None
        or condition.usual_ms is not None
        or condition.eagerness != "auto"
    ):
        return SWEEP_CALLS // 4 if quick else SWEEP_CALLS
    calls = JUDGED_ECHO_CALLS if condition.scenario == "alone" and condition.echo_db == 10 else CALLS[_kind(condition)]
    if condition not in _judged():
        calls //= 3
    return max(1, calls // 5) if quick else calls


@lru_cache
def _judged() -> frozenset[Condition]:
    """What has a limit; the rest is printed and played a third as often."""
    return frozenset(parse(row.condition) for row in load().values() if row.limit)


def _kind(condition: Condition) -> str:
    return condition.what or condition.scenario


def play_person(tasks: Sequence[Task]) -> list[tuple[Task, Figures]]:
    """One person's calls, one after the other: what they say is spoken once for all of them."""
    return [(task, play(parse(task[0]), *task[1:])) for task in tasks]


def quiet() -> None:
    """The gateway's own log has no place here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def play_all(names: Iterable[str], seed: int, quick: bool, jobs: int) -> dict[str, list[Figures]]:
    """Every call of these conditions, by the condition's name."""
    people: dict[tuple[object, ...], list[Task]] = {}
    for name in names:
        condition = parse(name)
        for index in range(calls_of(condition, quick)):
            who = (condition.scenario, condition.what, condition.contour, index)
            people.setdefault(who, []).append((name, seed, index))
    found = sorted(itertools.chain.from_iterable(_played(list(people.values()), jobs)), key=lambda each: each[0])
    return {
        name: [figures for _, figures in calls] for name, calls in itertools.groupby(found, lambda each: each[0][0])
    }


def _played(people: Sequence[Sequence[Task]], jobs: int) -> list[list[tuple[Task, Figures]]]:
    if jobs == 1:
        quiet()
        return [play_person(tasks) for tasks in people]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=quiet) as pool:
        return list(pool.map(play_person, people))
