"""The [broker] table, the same in the settings of the agent and of the collector."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgemse.errors import SettingsError
from edgemse.mqtt import Broker
from edgemse.settings import between, one_of
from edgemse.topics import DEFAULT_PREFIX, Topics

__all__ = ["PASSWORD_VARIABLE", "BrokerSettings"]

PASSWORD_VARIABLE = "EDGEMSE_BROKER_PASSWORD"  # noqa: S105 - the name of a variable
"""Holds the password where no `password_file` is set; a command line would show it to everybody."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """[broker]: where the MQTT broker is and how to speak to it."""

    address: str = "127.0.0.1:1883"
    username: str = ""
    password_file: Path | None = None
    tls: bool = False
    ca_file: str = ""
    protocol: str = field(default="5", metadata=one_of("5", "3.1.1"))
    keepalive_seconds: int = field(default=30, metadata=between(5, 3_600))
    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        Topics(self.prefix)
        Broker.at(self.address)

    def broker(self, environment: Mapping[str, str] = os.environ) -> Broker:
        """Return the broker, the password read from its file or from the environment."""
        password = environment.get(PASSWORD_VARIABLE, "")
        if self.password_file is not None:
            try:
                password = self.password_file.read_text().rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(
                    f"password_file {self.password_file}: cannot be read: {error}"
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
