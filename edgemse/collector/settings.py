"""The collector's settings: what its options and its TOML file say; see docs/collector.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgemse.broker import BrokerSettings
from edgemse.errors import SettingsError

__all__ = ["CollectorSettings"]


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

    def __post_init__(self) -> None:
        for name in ("worker", "shared_group"):
            value = getattr(self, name)
            if set("/+#\0") & set(value) or (name == "worker" and not value):
                raise SettingsError(f"{name}: got {value!r}, wanted a name without / + and #")
