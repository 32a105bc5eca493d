"""Everything that is measured, in the order of measuring: what needs a quiet machine first."""

from __future__ import annotations

from tests.bench import (
    barge_in,
    clock_slip,
    connecting,
    detector_latency,
    first_chunk,
    gaps,
    gateway_cpu,
    leading_silence,
    mouth_to_ear,
    replay,
    slow_engine,
    stale,
    wire_silence,
)
from tests.bench.measurement import Measurement

MEASUREMENTS: tuple[Measurement, ...] = (
    detector_latency.MEASUREMENT,
    clock_slip.MEASUREMENT,
    slow_engine.MEASUREMENT,
    replay.MEASUREMENT,
    connecting.MEASUREMENT,
    mouth_to_ear.MEASUREMENT,
    first_chunk.MEASUREMENT,
    barge_in.MEASUREMENT,
    wire_silence.MEASUREMENT,
    gaps.MEASUREMENT,
    stale.MEASUREMENT,
    leading_silence.MEASUREMENT,
    gateway_cpu.FEW_CALLS,
    gateway_cpu.MANY_CALLS,
)
