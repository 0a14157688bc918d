"""The agent's settings: one dataclass a table of agent.toml; docs/agent.md explains each key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgemse.cells import LEVELS_SECONDS
from edgemse.errors import SettingsError
from edgemse.mqtt import Broker
from edgemse.settings import load, read_toml
from edgemse.topics import DEFAULT_PREFIX, Topics, checked_device

__all__ = [
    "AgentSettings",
    "BrokerSettings",
    "Defaults",
    "DeliverySettings",
    "PairingSettings",
    "WindowSettings",
    "read",
]


def _above(low: float, high: float) -> dict[str, Any]:
    def check(value: float) -> str | None:
        return None if low <= value <= high else f"{low:g} to {high:g}"

    return {"check": check}


def _one_of(*known: object) -> dict[str, Callable[[object], str | None]]:
    wanted = f"one of {', '.join(map(str, known))}"
    return {"check": lambda value: None if value in known else wanted}


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """[broker]: where the MQTT broker is and how to speak to it."""

    address: str = "127.0.0.1:1883"
    username: str = ""
    password_file: Path | None = None
    tls: bool = False
    ca_file: str = ""
    protocol: str = field(default="5", metadata=_one_of("5", "3.1.1"))
    keepalive_seconds: int = field(default=30, metadata=_above(5, 3_600))
    prefix: str = DEFAULT_PREFIX

    def broker(self) -> Broker:
        """Return the broker, the password read from its file."""
        password = ""
        if self.password_file is not None:
            try:
                password = self.password_file.read_text().rstrip("\r\n")
            except OSError as error:
                raise SettingsError(
                    f"password_file {self.password_file}: cannot be read: {error.strerror}"
                ) from None
        return Broker.at(
            self.address,
            username=self.username,
            password=password,
            tls=self.tls,
            ca_file=self.ca_file,
            protocol=self.protocol,
            keepalive_seconds=self.keepalive_seconds,
        )


@dataclass(frozen=True, slots=True)
class Defaults:
    """[defaults]: the series of lines that do not name theirs."""

    model: str = field(
        default="model", metadata={"check": lambda v: None if v else "a name, not empty"}
    )
    version: str = ""


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """[windows]: how wide, how many."""

    width_seconds: int = field(default=60, metadata=_one_of(*LEVELS_SECONDS))
    grace_seconds: float = field(default=2.0, metadata=_above(0, 3_600))
    series_max: int = field(default=1_000, metadata=_above(1, 1_000_000))
    open_cells_max: int = field(default=5_000, metadata=_above(1, 1_000_000))


@dataclass(frozen=True, slots=True)
class PairingSettings:
    """[pairing]: how long and how many predictions and labels wait for each other."""

    age_max_seconds: float = field(default=3_600.0, metadata=_above(1, 31_622_400))
    pending_max: int = field(default=20_000, metadata=_above(1, 10_000_000))
    matched_max: int = field(default=10_000, metadata=_above(1, 10_000_000))


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """[delivery]: how soon durable, how much kept."""

    commit_seconds: float = field(default=20.0, metadata=_above(0.05, 3_600))
    ledger_cells_max: int = field(default=50_000, metadata=_above(100, 10_000_000))
    farewell_seconds: float = field(default=5.0, metadata=_above(0, 600))


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The whole of agent.toml."""

    device: str
    ledger: Path = Path("/var/lib/edgemse/ledger.sqlite")
    socket: Path | None = None
    broker: BrokerSettings = BrokerSettings()
    defaults: Defaults = Defaults()
    windows: WindowSettings = WindowSettings()
    pairing: PairingSettings = PairingSettings()
    delivery: DeliverySettings = DeliverySettings()
    attributes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_device(self.device)
        Topics(self.broker.prefix)
        Broker.at(self.broker.address)


def read(path: Path) -> AgentSettings:
    """Return the settings of an agent.toml, or raise SettingsError naming file, key and value."""
    values = read_toml(path)
    try:
        return load(AgentSettings, values, str(path))
    except SettingsError as error:
        if str(error).startswith(str(path)):
            raise
        raise SettingsError(f"{path}: {error}") from None
