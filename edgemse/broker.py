"""The [broker] table, the same in the settings of the agent and of the collector."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgemse.mqtt import Broker
from edgemse.settings import PASSWORD_VARIABLE, between, one_of, read_secret
from edgemse.topics import DEFAULT_PREFIX, Topics

__all__ = ["BrokerSettings"]


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """[broker]: where the MQTT broker is and how to speak to it."""

    address: str = "127.0.0.1:1883"
    username: str = ""
    password_file: Path | None = None
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    """The client's own certificate, for brokers that want one (mutual TLS)."""
    key_file: str = ""
    """Its key; empty: it stands in `cert_file`."""
    allow_plaintext_password: bool = False
    protocol: str = field(default="5", metadata=one_of("5", "3.1.1"))
    keepalive_seconds: int = field(default=30, metadata=between(5, 3_600))
    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        Topics(self.prefix)
        self._at("")

    def broker(self, environment: Mapping[str, str] = os.environ) -> Broker:
        """Return the broker, the password read from its file or from the environment."""
        if self.password_file is not None:
            return self._at(read_secret(self.password_file, "password_file"))
        return self._at(environment.get(PASSWORD_VARIABLE, ""))

    def check(self) -> None:
        """Read every file that a connection needs; SettingsError names the one that is bad."""
        broker = self.broker()
        if broker.tls:
            broker.tls_context()

    def _at(self, password: str) -> Broker:
        return Broker.at(
            self.address,
            username=self.username,
            password=password,
            tls=self.tls,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
            protocol=self.protocol,
            keepalive_seconds=self.keepalive_seconds,
            allow_plaintext_password=self.allow_plaintext_password,
        )
