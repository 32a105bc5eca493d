"""What operators see of the model server: Prometheus metrics in a registry of their own, nothing that names a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

PREFILL_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
AHEAD_MS = (0, 250, 500, 1000, 2000, 3000, 4000, 5000, 6000)


class Metrics:
    """Counters of one server; every part of it updates its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions_open = self._gauge("sessions_open", "Sessions that hold a place in the engine")
        self.sessions_detached = self._gauge("sessions_detached", "Of these, sessions that wait for their socket")
        self.sessions_waiting = self._gauge("sessions_waiting", "Sockets in the waiting line")
        self.sessions_ended = self._counter("sessions_ended", "Sessions that ended, by reason", "reason")
        self.refusals = self._counter("refusals", "Opens that were refused, by code", "code")
        self.errors = self._counter("errors", "Requests that changed nothing, by code", "code")
        self.responses = self._counter("responses", "Responses that ended, by how", "end")
        self.cancels = self._counter("cancels", "Cancels that were done, by what became of the speech", "speech")
        self.played_ignored = self._counter("played_ignored", "Credits for a response that is not being generated")
        self.prefill_ms = self._histogram("prefill_ms", "Milliseconds to write one item", PREFILL_MS)
        self.speech_ahead_ms = self._histogram("speech_ahead_ms", "Speech made, not heard yet, at each chunk", AHEAD_MS)

    def show(self, statistics: Callable[[], Mapping[str, float]]) -> None:
        """Also give `Engine.statistics`, read whenever somebody asks."""
        self.registry.register(_Work(statistics))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(f"model_server_{name}", what, registry=self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"model_server_{name}", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"model_server_{name}", what, buckets=buckets, registry=self.registry)


class _Work(Collector):
    """What an engine says of its work; a kind of step is a label."""

    COUNTS = (
        ("passes", "Passes through the network, by kind of step"),
        ("steps", "Rows of these passes: over the passes, how many calls share one"),
        ("splits", "Passes that were done in two for want of memory"),
    )

    def __init__(self, statistics: Callable[[], Mapping[str, float]]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[CounterMetricFamily]:
        found = dict(self._statistics())
        if "busy_seconds" in found:
            what = "Seconds that the network has worked"
            yield CounterMetricFamily("model_server_busy_seconds", what, value=found["busy_seconds"])
        for count, what in self.COUNTS:
            kinds = {key.removesuffix(f".{count}"): n for key, n in found.items() if key.endswith(f".{count}")}
            if kinds:
                family = CounterMetricFamily(f"model_server_{count}", what, labels=["kind"])
                for kind, number in kinds.items():
                    family.add_metric([kind], number)
                yield family
