"""What operators see at `/metrics`: one registry per gateway, one attribute per measure."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_CONNECT_S = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
_LATE_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_FIRST_AUDIO_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class Metrics:
    """Measures of one gateway. Times are seconds, audio is milliseconds where the name says so."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        # CPU, memory and file descriptors of this process.
        ProcessCollector(registry=registry)

        self.tasks = Gauge("realtime_tasks", "Tasks of the event loop", registry=registry)
        self.calls_open = Gauge("realtime_calls_open", "Calls in progress", registry=registry)
        self.calls_waiting = Gauge("realtime_calls_waiting", "Callers in the waiting line", registry=registry)
        self.calls = Counter("realtime_calls", "Calls made", registry=registry)
        self.calls_ended = Counter("realtime_calls_ended", "Calls ended", ["reason"], registry=registry)
        self.refusals = Counter("realtime_refusals", "Calls not made", ["code"], registry=registry)
        self.connect_seconds = Histogram(
            "realtime_connect_seconds", "From the offer to its answer", buckets=_CONNECT_S, registry=registry
        )

        self.unit_lateness_seconds = Histogram(
            "realtime_unit_lateness_seconds",
            "How late a unit of one second was cut against the call's clock",
            buckets=_LATE_S,
            registry=registry,
        )
        self.packets_received = Counter("realtime_packets_received", "Audio packets received", registry=registry)
        self.packets_lost = Counter("realtime_packets_lost", "Audio packets that never came", registry=registry)
        self.packets_late = Counter("realtime_packets_late", "Audio packets too late to use", registry=registry)
        self.concealed_ms = Counter("realtime_concealed_ms", "Received audio that was made up", registry=registry)
        self.pictures = Counter("realtime_pictures", "Pictures received", registry=registry)
        self.pictures_dropped = Counter(
            "realtime_pictures_dropped",
            "Pictures dropped: bad ones, and good ones for a slow engine",
            ["reason"],
            registry=registry,
        )

        self.responses = Counter("realtime_responses", "Responses by how they ended", ["status"], registry=registry)
        self.cancels = Counter("realtime_cancels", "Responses cut off", ["reason"], registry=registry)
        self.guesses = Counter(
            "realtime_guesses",
            "Replies begun before the turn was over, by what became of them",
            ["outcome"],
            registry=registry,
        )
        self.guess_saved_seconds = Histogram(
            "realtime_guess_saved_seconds",
            "How long before the turn was over a reply was begun that was given",
            buckets=_FIRST_AUDIO_S,
            registry=registry,
        )
        self.guess_wasted_seconds = Counter(
            "realtime_guess_wasted_seconds", "Time of the engine on replies that were not given", registry=registry
        )
        self.acks_ignored = Counter(
            "realtime_acks_ignored",
            "Playback reports from the future, the past or of unknown responses",
            registry=registry,
        )
        self.stale_dropped = Counter(
            "realtime_stale_dropped", "Late parts of cancelled responses, dropped", registry=registry
        )
        self.first_audio_seconds = Histogram(
            "realtime_first_audio_seconds",
            "From the end of the person's speech to the first sound of the reply on its way",
            buckets=_FIRST_AUDIO_S,
            registry=registry,
        )
        self.event_errors = Counter("realtime_event_errors", "Client events refused", ["code"], registry=registry)

        self.model_server_ready = Gauge("realtime_model_server_ready", "1 when it takes sessions", registry=registry)
        self.model_server_restarts = Counter(
            "realtime_model_server_restarts", "Starts of the child after the first", registry=registry
        )
        self.session_recoveries = Counter(
            "realtime_session_recoveries", "Sessions that lost their socket, by outcome", ["outcome"], registry=registry
        )

    def exposition(self) -> bytes:
        """The text that `/metrics` answers."""
        return generate_latest(self.registry)
