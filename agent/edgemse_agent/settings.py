"""The agent's settings: one dataclass a table of agent.toml; docs/agent.md explains each key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgemse.broker import BrokerSettings
from edgemse.cells import LEVELS_SECONDS
from edgemse.errors import SettingsError
from edgemse.mqtt import Broker
from edgemse.names import wrong_with
from edgemse.settings import between, load, one_of, read_toml
from edgemse.topics import DEFAULT_PREFIX, checked_device
from edgemse_agent.intake.rules import MqttRule, check_joins

__all__ = [
    "AgentSettings",
    "Defaults",
    "DeliverySettings",
    "PairingSettings",
    "WindowSettings",
    "read",
]


NAMES = "at most 256 characters, none that moves a cursor or turns the direction of writing"
"""The collector takes no others in."""


def _are_names(*texts: str) -> str | None:
    return NAMES if any(map(wrong_with, texts)) else None


@dataclass(frozen=True, slots=True)
class Defaults:
    """[defaults]: the series of lines that do not name theirs."""

    model: str = field(
        default="model", metadata={"check": lambda v: _are_names(v) if v else "a name, not empty"}
    )
    version: str = field(default="", metadata={"check": _are_names})


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """[windows]: how wide, how many."""

    width_seconds: int = field(default=60, metadata=one_of(*LEVELS_SECONDS))
    grace_seconds: float = field(default=2.0, metadata=between(0, 3_600))
    series_max: int = field(default=1_000, metadata=between(1, 1_000_000))
    open_cells_max: int = field(default=5_000, metadata=between(1, 1_000_000))


@dataclass(frozen=True, slots=True)
class PairingSettings:
    """[pairing]: how long and how many predictions and labels wait for each other."""

    age_max_seconds: float = field(default=3_600.0, metadata=between(1, 31_622_400))
    pending_max: int = field(default=20_000, metadata=between(1, 10_000_000))
    matched_max: int = field(default=10_000, metadata=between(1, 10_000_000))


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """[delivery]: how soon durable, how much kept."""

    durable_seconds: float = field(default=75.0, metadata=between(0.05, 3_600))
    ledger_cells_max: int = field(default=50_000, metadata=between(100, 10_000_000))
    parked_cells_max: int = field(default=10_000, metadata=between(0, 10_000_000))
    farewell_seconds: float = field(default=5.0, metadata=between(0, 600))


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The whole of agent.toml."""

    device: str
    ledger: Path = Path("/var/lib/edgemse/ledger.sqlite")
    socket: Path | None = None
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    defaults: Defaults = Defaults()
    windows: WindowSettings = WindowSettings()
    pairing: PairingSettings = PairingSettings()
    delivery: DeliverySettings = DeliverySettings()
    mqtt: list[MqttRule] = field(default_factory=list)
    mqtt_broker: BrokerSettings | None = None
    attributes: dict[str, str] = field(
        default_factory=dict, metadata={"check": lambda v: _are_names(*v, *v.values())}
    )

    def __post_init__(self) -> None:
        checked_device(self.device)
        check_joins(self.mqtt)
        for rule in self.mqtt:
            if rule.within_seconds > self.pairing.age_max_seconds:
                raise SettingsError(
                    f"mqtt: within_seconds: got {rule.within_seconds:g}, wanted at most"
                    f" [pairing] age_max_seconds, {self.pairing.age_max_seconds:g}"
                )
        local = self.mqtt_broker
        if local is not None and (not self.mqtt or local.prefix != DEFAULT_PREFIX):
            wrong = "without any [[mqtt]] rule" if not self.mqtt else "with a prefix"
            raise SettingsError(f"mqtt_broker: {wrong} it is of no use")

    @property
    def local_broker(self) -> BrokerSettings:
        """The broker of the local topics: the uplink's, where no other one is named."""
        return self.broker if self.mqtt_broker is None else self.mqtt_broker

    def read_local_broker(self) -> Broker:
        """Return it with its password, from its own file where it is another broker."""
        return self.broker.broker() if self.mqtt_broker is None else self.mqtt_broker.broker({})


def read(path: Path) -> AgentSettings:
    """Return the settings of an agent.toml, or raise SettingsError naming file, key and value."""
    return load(AgentSettings, read_toml(path), str(path))
