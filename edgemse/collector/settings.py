"""The collector's settings: what its options and its TOML file say; see docs/collector.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgemse.broker import BrokerSettings
from edgemse.errors import SettingsError
from edgemse.settings import between
from edgemse.stores.keep import Keep

__all__ = ["CollectorSettings", "Limits", "TopicSettings"]


@dataclass(frozen=True, slots=True)
class Limits:
    """[limits]: what the store takes of names; cells past them are refused, code `limit`."""

    devices_max: int = field(default=200_000, metadata=between(1, 10**8))
    series_max: int = field(default=2_000_000, metadata=between(1, 10**9))
    series_per_device_max: int = field(default=20_000, metadata=between(1, 10**7))
    """An agent keeps a thousand at once by its own setting; this counts all there ever were."""


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """[topics]: retained figures of every series, for whatever subscribes."""

    enabled: bool = False
    devices_min: int = field(default=3, metadata=between(1, 10**6))
    """Figures of fewer devices are not published."""
    every_seconds: float = field(default=10.0, metadata=between(1, 3_600))
    topics_max: int = field(default=500, metadata=between(1, 900))
    """Mosquitto gives at most 1,000 retained messages to one who subscribes."""


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """The whole of collector.toml."""

    store: str
    http: str = "127.0.0.1:8080"
    http_hosts: list[str] = field(default_factory=list)
    """Further names that an HTTP request may ask for in its Host header."""
    tokens: Path | None = None
    """The file of tokens without which HTTP answers nobody; None: answers on this machine only."""
    worker: str = "main"
    """Names the collector on its broker; of several each needs its own."""
    shared_group: str = ""
    """The group of a shared subscription, which several collectors divide; empty: none."""
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    limits: Limits = field(default_factory=Limits)
    topics: TopicSettings = field(default_factory=TopicSettings)
    retention: Keep = field(default_factory=Keep)

    def __post_init__(self) -> None:
        for name in ("worker", "shared_group"):
            value = getattr(self, name)
            if set("/+#\0") & set(value) or (name == "worker" and not value):
                raise SettingsError(f"{name}: got {value!r}, wanted a name without / + and #")
