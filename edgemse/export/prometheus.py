"""The Prometheus text format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["exposition"]

PREFIX = "edgemse_collector_"


class _Snapshot(Collector):
    def __init__(
        self, meanings: Mapping[str, str], counters: Mapping[str, int], gauges: Mapping[str, int]
    ) -> None:
        self._meanings, self._counters, self._gauges = meanings, counters, gauges

    def collect(self) -> Iterator[Metric]:
        for name, value in self._counters.items():
            yield CounterMetricFamily(PREFIX + name, self._meanings[name], value=value)
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(PREFIX + name, self._meanings[name], value=value)


def exposition(
    meanings: Mapping[str, str], counters: Mapping[str, int], gauges: Mapping[str, int]
) -> bytes:
    """Return counters (`edgemse_collector_<name>_total`) and gauges as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(meanings, counters, gauges))
    return generate_latest(registry)
