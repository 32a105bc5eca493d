"""`python -m tests.bench.calls`: real calls on one device, each with a clock and a page of its own.

N calls with random phases send a unit every second and hear replies, and what was heard is told as a page tells it.
A unit is late that is not written before the next one is due, a piece of speech that comes after the sound before it
ran dry. Plain, on the CPU: two rows that have to hold. Exit status 1: one does not, or fewer than `--goal` do.

On an NVIDIA card (weights of the official size are drawn there; nothing is downloaded):

    python -m tests.bench.calls --size full --devices cuda:0 --dtype bfloat16 --pictures --speaking 0.3 \
        --context 8000 --minutes 3 --search --calls 16 --goal 48
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
import torch

from tests.bench.calls.figures import HEAD
from tests.bench.calls.load import Load
from tests.bench.calls.network import Network
from tests.bench.calls.search import largest
from tests.bench.calls.trial import Bench

QUICK_S = 15.0
SEARCH_S = 45.0
"""Of a trial while the number is looked for; the number itself is tried for all of the minutes."""

MOST = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """A number of calls that has to hold, and the threads that a matrix of this size is worth."""

    what: str
    network: Network
    load: Load
    threads: int


ROWS = (
    Row("mid, float32: 8 listeners without pictures", Network("mid"), Load(8, pictures=False, speaking=0.0), 2),
    Row("tiny, float32: 24 calls with pictures", Network("tiny"), Load(24), 1),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    asked = parser.parse_args(arguments)
    if wrong := _checked(asked):
        parser.error(wrong)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if asked.size or asked.model or asked.calls or asked.search:
        held = asyncio.run(_asked_for(asked))
    else:
        rows = [asyncio.run(_row(row, asked)) for row in ROWS]
        held = all(rows)
    return 0 if held else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.calls", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="", help="tiny, mid or full: random weights of this size (usually mid)")
    parser.add_argument("--model", default="", help="a model folder instead")
    parser.add_argument("--devices", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=0, help="2 where nothing is said; the rows have their own")
    parser.add_argument("--calls", type=int, nargs="+", default=[], help="numbers to try, or where the search begins")
    parser.add_argument("--minutes", type=float, default=1.0)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--pictures", dest="pictures", action="store_true", default=True, help="one of 448x448 a second")
    shown.add_argument("--audio-only", dest="pictures", action="store_false")
    parser.add_argument("--speaking", type=float, default=0.3, help="share of calls that hear a reply at any time")
    parser.add_argument("--context", type=int, default=0, help="positions in a call's cache as it begins, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--search", action="store_true", help="for the largest number without a missed deadline")
    parser.add_argument("--goal", type=int, default=0, help="calls without a missed deadline")
    parser.add_argument("--exact", action="store_true", help="wait for the card behind each pass: exact kinds, slower")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_S:g} s for each number")
    return parser


def _checked(asked: argparse.Namespace) -> str:
    """What is wrong with it, in words."""
    if asked.size and asked.model:
        return "--size or --model, not both"
    if not 0 <= asked.speaking <= 1:
        return f"--speaking: expected 0 to 1, found {asked.speaking:g}"
    least = min([*asked.calls, asked.threads or 1, 1 if asked.minutes > 0 else 0])
    return "" if least >= 1 else "--calls, --threads, --minutes: expected more than 0"


def _machine() -> str:
    return f"load average {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads"


def _seconds(asked: argparse.Namespace) -> float:
    return QUICK_S if asked.quick else float(asked.minutes * 60)


async def _row(row: Row, asked: argparse.Namespace) -> bool:
    torch.set_num_threads(asked.threads or row.threads)
    async with row.network.started() as engine:
        print(f"{row.what}; {_machine()}\n{HEAD}", flush=True)
        return await _tried(Bench(engine), replace(row.load, seconds=_seconds(asked), seed=asked.seed))


async def _asked_for(asked: argparse.Namespace) -> bool:
    network = Network(asked.size or "mid", asked.model, tuple(asked.devices.split(",")), asked.dtype)
    load = Load(1, _seconds(asked), asked.pictures, asked.speaking, asked.context, asked.seed)
    torch.set_num_threads(asked.threads or 2)
    async with network.started() as engine:
        print(f"{network.name}; it would admit {engine.max_sessions}; {_machine()}\n{load}\n{HEAD}", flush=True)
        bench = Bench(engine, exact=asked.exact)
        return await (_searched(bench, load, asked) if asked.search else _numbers(bench, load, asked))


async def _numbers(bench: Bench, load: Load, asked: argparse.Namespace) -> bool:
    """Each of them in turn; those up to the goal have to hold."""
    wanted = {*asked.calls, asked.goal} - {0} or {4}
    held = {calls: await _tried(bench, replace(load, calls=calls)) for calls in sorted(wanted)}
    return all(holds for calls, holds in held.items() if calls <= asked.goal)


async def _searched(bench: Bench, load: Load, asked: argparse.Namespace) -> bool:
    async def holds(calls: int) -> bool:
        short = replace(load, calls=calls, seconds=min(load.seconds, SEARCH_S))
        return await _tried(bench, short, give_up=True)

    async def confirmed(calls: int) -> bool:
        return await _tried(bench, replace(load, calls=calls))

    found = await largest(holds, confirmed, min(asked.calls, default=1), MOST)
    goal: int = asked.goal
    judged = f", goal {goal}{'' if found >= goal else '  MISSED'}" if goal else ""
    print(f"largest number without a missed deadline in {load.seconds:g} s: {found}{judged}")
    return found >= goal


async def _tried(bench: Bench, load: Load, *, give_up: bool = False) -> bool:
    result = await bench.trial(load, give_up=give_up)
    print("\n".join(result.lines()), flush=True)
    return result.holds


if __name__ == "__main__":
    sys.exit(main())
