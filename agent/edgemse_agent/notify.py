"""What systemd is told, by its protocol and without its library: sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

__all__ = ["Supervisor"]

MICROSECONDS = 1_000_000
BEATS = 3
"""Signs of life in a watchdog's time; systemd asks for at least two."""


class Supervisor:
    """Whoever started this process with a socket to hear from it; nobody is told nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        allowed = environment.get("WATCHDOG_USEC", "") if ours and self._address else ""
        self.beat_seconds = int(allowed) / MICROSECONDS / BEATS if allowed.isdigit() else 0.0
        """How often a sign of life is wanted; 0: never."""
        self._beat_at = float("-inf")

    def tell(self, *said: str) -> bool:
        """Send assignments such as READY=1; False if nobody hears them."""
        if not self._address:
            return False
        abstract = self._address.startswith("@")
        address = "\0" + self._address[1:] if abstract else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(said).encode(), address)
            except OSError:  # a supervisor that does not read is no reason to stop
                return False
        return True

    def beat(self, now: float) -> None:
        """Give a sign of life, if it is time for one."""
        if self.beat_seconds and now - self._beat_at >= self.beat_seconds:
            self._beat_at = now
            self.tell("WATCHDOG=1")

    def reloading(self, now: float) -> None:
        """Say that settings are read anew; READY=1 follows."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={int(now * MICROSECONDS)}")
