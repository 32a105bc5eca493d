"""Rows `cpu_*`, `unit_lateness`: the gateway's own CPU time under load from another process, and its units' clock."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.bench.gateway import Gateway, percentile_ms, tone_gateway
from tests.bench.measurement import Measurement, Options, Repetitions
from tests.service import ROOT

FEW, MANY = 10, 40
SPEAKING_SHARE = 0.3
SETTLE_S = 3.0
WINDOW_S = 5.0
START_TIMEOUT_S = 90
WORST_LAG_MS = 30.0
"""A load generator that is later than this measures itself."""


@asynccontextmanager
async def load(url: str, calls: int, speaking: int) -> AsyncIterator[dict[str, Any]]:
    """Callers in a process of their own; what they saw is in the dictionary afterwards."""
    command = [sys.executable, "-m", "tests.bench.load", url, "--calls", str(calls), "--speaking", str(speaking)]
    process = await asyncio.create_subprocess_exec(
        *command, "--stills", cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    seen: dict[str, Any] = {}
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        if not line:
            raise RuntimeError("the load generator ended before its calls were up")
        await asyncio.sleep(SETTLE_S)
        yield seen
    finally:
        process.stdin.close()
        seen.update(json.loads(await asyncio.wait_for(process.stdout.readline(), 30) or "{}"))
        await asyncio.wait_for(process.wait(), 30)


async def cpu_percent(gateway: Gateway, calls: int, windows: int) -> list[float]:
    """Per cent of one core for each call, window by window."""
    found = []
    for _ in range(windows):
        before, begun = gateway.cpu_s(), time.monotonic()
        await asyncio.sleep(WINDOW_S)
        found.append(100 * (gateway.cpu_s() - before) / (time.monotonic() - begun) / calls)
    return found


async def many(gateway: Gateway, calls: int, windows: int) -> Repetitions:
    """The rows of many calls: CPU of all, and how late units are, window by window."""
    whole: list[float] = []
    late: list[float] = []
    async with load(gateway.url, calls, round(SPEAKING_SHARE * calls)) as seen:
        for _ in range(windows):
            before = await gateway.lateness()
            whole += [calls * each for each in await cpu_percent(gateway, calls, 1)]
            late.append(percentile_ms(before, await gateway.lateness(), 0.99))
    check(seen)
    return {"cpu_40_calls": whole, "unit_lateness": late}


async def few(gateway: Gateway, calls: int, windows: int) -> Repetitions:
    """The rows of few calls: listening, then with the assistant speaking."""
    async with load(gateway.url, calls, 0) as seen:
        listening = await cpu_percent(gateway, calls, windows)
    check(seen)
    async with load(gateway.url, calls, calls) as seen:
        speaking = await cpu_percent(gateway, calls, windows)
    check(seen)
    return {"cpu_listening": listening, "cpu_speaking": speaking}


def check(seen: dict[str, Any]) -> None:
    """Say on standard error what makes the figures doubtful."""
    if seen.get("errors"):
        print(f"the callers were told errors: {seen['errors']}", file=sys.stderr)
    if seen.get("lag_p99_ms", 0) > WORST_LAG_MS:
        print(f"the callers themselves sent {seen['lag_p99_ms']} ms late (p99)", file=sys.stderr)


async def measure_few(options: Options) -> Repetitions:
    calls = options.calls or FEW
    async with tone_gateway("--max-calls", str(calls)) as gateway:
        return await few(gateway, calls, options.times(5, 1))


async def measure_many(options: Options) -> Repetitions:
    calls = options.calls or MANY
    async with tone_gateway("--max-calls", str(calls)) as gateway:
        return await many(gateway, calls, options.times(5, 1))


FEW_CALLS = Measurement(("cpu_listening", "cpu_speaking"), measure_few)
MANY_CALLS = Measurement(("cpu_40_calls", "unit_lateness"), measure_many)
