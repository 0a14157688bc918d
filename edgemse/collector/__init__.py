"""The collector: reports in from MQTT, into the store, acknowledged once they are committed."""

from edgemse.collector.service import Collector, Options

__all__ = ["Collector", "Options"]
