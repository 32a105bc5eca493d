"""`python -m tests.bench.soak --minutes N --calls N`: waves of calls against one gateway. Does anything stay behind?

Each wave makes all calls, holds them while some have the assistant speak, and hangs up. Between waves, when no call is
left, memory, file descriptors and threads are read; the first wave warms up and is the measure of the others. Exit
status 1: something grew, a call was left, or units were late.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass

from tests.bench import report
from tests.bench.budgets import load as load_budgets
from tests.bench.gateway import Gateway, percentile_ms, tone_gateway
from tests.bench.gateway_cpu import SPEAKING_SHARE, check, load

HOLD_S = 20.0
CALM_S = 10.0
"""A call that was hung up is gone within this time."""

LOOK_EVERY_S = 0.5
MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Calm:
    """The gateway between two waves."""

    rss_mb: float
    descriptors: int
    threads: int
    calls_open: int


async def calm(gateway: Gateway) -> Calm:
    """The gateway as soon as no call is left, or after `CALM_S`."""
    left = 1.0
    for _ in range(round(CALM_S / LOOK_EVERY_S)):
        await asyncio.sleep(LOOK_EVERY_S)
        left = await gateway.gauge("realtime_calls_open")
        if not left:
            break
    process = gateway.process
    return Calm(process.memory_info().rss / MB, process.num_fds(), process.num_threads(), round(left))


async def wave(gateway: Gateway, calls: int) -> Calm:
    """All calls up, held, hung up."""
    async with load(gateway.url, calls, round(SPEAKING_SHARE * calls)) as seen:
        await asyncio.sleep(HOLD_S)
    check(seen)
    return await calm(gateway)


async def soak(minutes: float, calls: int) -> dict[str, list[float]]:
    """The repetitions of every soak row, one for each wave after the first."""
    async with tone_gateway("--max-calls", str(calls)) as gateway:
        first = await wave(gateway, calls)
        before, until = await gateway.lateness(), time.monotonic() + 60 * minutes
        waves: list[Calm] = []
        while not waves or time.monotonic() < until:
            waves.append(await wave(gateway, calls))
            tell(len(waves), waves[-1])
        late = percentile_ms(before, await gateway.lateness(), 0.99)
    return {
        "soak_memory": [waves[-1].rss_mb - first.rss_mb],
        "soak_descriptors": [each.descriptors - first.descriptors for each in waves],
        "soak_threads": [each.threads - first.threads for each in waves],
        "soak_calls_left": [each.calls_open for each in waves],
        "soak_lateness": [late],
    }


def tell(number: int, now: Calm) -> None:
    """One line for each wave."""
    report.show(
        f"wave {number}: {now.rss_mb:.1f} MB, {now.descriptors} descriptors, {now.threads} threads, "
        f"{now.calls_open} calls left",
        sys.stderr,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--calls", type=int, default=20, help="calls at once")
    asked = parser.parse_args()
    found = asyncio.run(soak(asked.minutes, asked.calls))
    budgets = load_budgets()
    report.show(report.head(), sys.stdout)
    rows = [report.row(budgets[name], repetitions) for name, repetitions in found.items()]
    for row in rows:
        report.show(report.line(budgets[row.name], row), sys.stdout, missed=not row.ok)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
