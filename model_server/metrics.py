"""What operators see of the model server: Prometheus metrics in a registry of their own, nothing that names a call."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(f"model_server_{name}", what, registry=self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"model_server_{name}", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"model_server_{name}", what, buckets=buckets, registry=self.registry)
