"""Metrics: every measure is there to be read, under the one prefix, and gateways do not share them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from realtime.service.metrics import Metrics


def test_every_measure_comes_out_with_its_description() -> None:
    metrics = Metrics()
    families = {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}
    measures = [value for value in vars(metrics).values() if isinstance(value, Counter | Gauge | Histogram)]
    assert len(measures) >= 20
    for measure in measures:
        family = families[measure._name]
        assert family.name.startswith("realtime_")
        assert family.documentation
    assert "process_cpu_seconds" in families


def test_two_gateways_do_not_share_measures() -> None:
    first, second = Metrics(), Metrics()
    first.calls.inc()
    assert second.registry.get_sample_value("realtime_calls_total") == 0
