"""Where a broker is, how to speak to it, and whether a secret may travel there."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from dataclasses import dataclass, field

from edgemse.errors import SettingsError

__all__ = ["Broker", "is_loopback"]

PORT, PORT_TLS = "1883", "8883"
"""As registered with IANA: mqtt and secure-mqtt."""

LOCKED = "the key is encrypted; wanted one that can be read without a password"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to speak to it.

    `cert_file` and `key_file` are the client's own certificate and key (mutual TLS); without a
    `key_file` the key stands in `cert_file`. Raises SettingsError if the parts contradict each
    other, or if a password would travel unencrypted to another host.
    """

    host: str
    port: int = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    protocol: str = "5"
    keepalive_seconds: int = 30
    allow_plaintext_password: bool = False
    websocket_path: str = ""
    """Where the broker speaks MQTT over WebSockets; empty: plain MQTT."""

    def __post_init__(self) -> None:
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path and not self.tls:
                raise SettingsError(f"{name} {path}: of no use without tls; set tls = true")
        if self.key_file and not self.cert_file:
            raise SettingsError(
                f"key_file {self.key_file} without cert_file: set the certificate, too"
            )
        exposed = self.password and not self.tls and not is_loopback(self.host)
        if exposed and not self.allow_plaintext_password:
            raise SettingsError(
                f"broker {self}: the password would travel unencrypted to another host; set"
                " tls = true, or allow_plaintext_password = true if the network is yours alone"
            )

    @classmethod
    def at(cls, address: str, **settings: object) -> Broker:
        """Return the broker at HOST, HOST:PORT or [IPV6]:PORT; the port is 1883, with TLS 8883.

        >>> Broker.at("broker.example", tls=True).port
        8883
        """
        host, colon, port = address.rpartition(":")
        if not colon or address.endswith("]"):
            host, port = address, PORT_TLS if settings.get("tls") else PORT
        host = host.strip("[]")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
            raise SettingsError(f"broker {address!r}: wanted HOST:PORT, for example 127.0.0.1:1883")
        return cls(host, int(port), **settings)  # type: ignore[arg-type]  # checked by settings.py

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS context, its files read now; SettingsError names the one that is bad."""
        key, asked = "ca_file", threading.Event()

        def no_password() -> str:
            asked.set()  # an encrypted key must be an error, not a question at the terminal
            return ""

        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            key = "cert_file"
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file or None, no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            why = LOCKED if asked.is_set() else _told(error)
            raise SettingsError(f"{self._files(key)}: {why}") from None
        return context

    def _files(self, key: str) -> str:
        if key == "cert_file" and self.key_file:
            return f"cert_file {self.cert_file} with key_file {self.key_file}"
        return f"{key} {getattr(self, key)}"


def is_loopback(host: str) -> bool:
    """Return whether what is sent to the host stays on this machine; a name only if it must.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("broker.example")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # RFC 6761, section 6.3: names under localhost resolve to loopback and nowhere else.
        return host == "localhost" or host.endswith(".localhost")


def _told(error: OSError | ValueError) -> str:
    """Say what OpenSSL met in words: it blames a file without certificates on itself."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return f"cannot be read: {error.strerror}"
    reason = (getattr(error, "reason", None) or "").upper()
    if "KEY_VALUES_MISMATCH" in reason:
        return "the key is not that of the certificate"
    return f"not a certificate in PEM form ({error}); wanted -----BEGIN CERTIFICATE-----"
