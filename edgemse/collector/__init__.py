"""The collector: reports in from MQTT, into the store, acknowledged once they are committed."""

from edgemse.collector.service import Collector
from edgemse.collector.settings import CollectorSettings

__all__ = ["Collector", "CollectorSettings"]
