"""The gateway under measurement: a process of its own, and what `/metrics` and the machine say of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.service import ROOT, Service, running_service

LATENESS = "realtime_unit_lateness_seconds"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway."""

    service: Service

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.service.process.pid)

    def cpu_s(self) -> float:
        """CPU time of the gateway itself so far, its model server not included."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    async def gauge(self, name: str) -> float:
        """The value of a measure without labels."""
        families = text_string_to_metric_families(await self._exposition())
        return next(sample.value for family in families for sample in family.samples if sample.name == name)

    async def lateness(self) -> dict[float, float]:
        """Units so far by how late they were at most: upper bound (s) to count, cumulative."""
        return {
            float(sample.labels["le"]): sample.value
            for family in text_string_to_metric_families(await self._exposition())
            if family.name == LATENESS
            for sample in family.samples
            if sample.name.endswith("_bucket")
        }

    async def _exposition(self) -> str:
        async with httpx.AsyncClient(base_url=self.url, timeout=10, trust_env=False) as client:
            answer = await client.get("/metrics")
            answer.raise_for_status()
            return answer.text


def percentile_ms(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The value (ms) below which `share` of what came between two readings lies, linear within its bucket."""
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in sorted(after)}
    wanted = share * max(counts.values())
    low_bound = low_count = 0.0
    for bound, count in counts.items():
        if count >= wanted:
            if bound == float("inf"):
                return 1000 * low_bound
            within = (wanted - low_count) / (count - low_count) if count > low_count else 0.0
            return 1000 * (low_bound + within * (bound - low_bound))
        low_bound, low_count = bound, count
    return 1000 * low_bound


@asynccontextmanager
async def tone_server() -> AsyncIterator[str]:
    """The model server with the engine for measuring: its address, on loopback and open for the time of measuring."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.tone_server", "--port", "0", "--max-sessions", "128", "--die-with-stdin"),
        "--insecure-no-token",
        "--log-level",
        "error",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        yield f"ws://127.0.0.1:{said['port']}"
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 15)


@asynccontextmanager
async def tone_gateway(*flags: str) -> AsyncIterator[Gateway]:
    """A gateway whose engine says a tone."""
    async with (
        tone_server() as address,
        running_service("--model-server", address, *flags) as service,
    ):
        yield Gateway(service)
