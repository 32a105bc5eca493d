"""Where the device thread's time goes, by kind of step.

Read on the host: of a card that works asynchronously a kind without a read-back (`Stretch`, `SoundStep`) hands some of
its time on to the next one that waits for its result, unless every pass is waited for.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from model_server.minicpmo.scheduling.batcher import Batcher

OTHER = "whole jobs"
"""What is no pass: opening, history, rollback, the host's own work between passes."""


class DeviceTime:
    """Times every pass of a batcher from now on. `wait`: is called behind each, to wait for the device."""

    def __init__(self, batcher: Batcher, wait: Callable[[], None] = lambda: None) -> None:
        self._batcher, self._tick, self._wait = batcher, batcher.tick, wait
        self.seconds: Counter[str] = Counter()
        self.processor_s = 0.0
        """Processor time of the thread itself: much less than its seconds where the machine is busy with others."""
        batcher.tick = self._timed  # type: ignore[method-assign]

    def _timed(self) -> None:
        before, begun, processor = self._passes(), time.perf_counter(), time.thread_time()
        self._tick()
        self._wait()
        took = time.perf_counter() - begun
        self.processor_s += time.thread_time() - processor
        for kind, passes in self._passes().items():
            if passes > before.get(kind, 0):
                self.seconds[kind] += took  # type: ignore[assignment]

    def _passes(self) -> dict[str, int]:
        return {name.removesuffix(".passes"): n for name, n in self._batcher.counts.items() if name.endswith(".passes")}


class Spent:
    """What was spent since this was made."""

    def __init__(self, time_by_kind: DeviceTime, statistics: Callable[[], Mapping[str, float]]) -> None:
        self._time, self._statistics = time_by_kind, statistics
        self._seconds, self._before = dict(time_by_kind.seconds), dict(statistics())
        self._processor_s = time_by_kind.processor_s

    @property
    def busy(self) -> float:
        """Seconds that the thread has worked."""
        return self._since("busy_seconds")

    @property
    def processor_s(self) -> float:
        """Processor seconds of the thread in its passes."""
        return self._time.processor_s - self._processor_s

    @property
    def kinds(self) -> dict[str, float]:
        """Seconds by kind of step, and of all that is none."""
        found = {kind: spent - self._seconds.get(kind, 0.0) for kind, spent in self._time.seconds.items()}
        return {kind: spent for kind, spent in found.items() if spent} | {OTHER: self.busy - sum(found.values())}

    @property
    def rows(self) -> dict[str, float]:
        """Steps in a pass, on average, of the kinds that share their passes."""
        kinds = [name.removesuffix(".passes") for name in self._statistics() if name.endswith(".passes")]
        passes = {kind: self._since(f"{kind}.passes") for kind in kinds}
        return {
            kind: self._since(f"{kind}.steps") / many for kind, many in passes.items() if many and kind != "Stretch"
        }

    def _since(self, name: str) -> float:
        return self._statistics().get(name, 0.0) - self._before.get(name, 0.0)
