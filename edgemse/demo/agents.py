"""The demo's side of a real agent: its settings file, its command, and how it does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgemse_agent.status import Status, ask_status

__all__ = ["DemoAgent"]

SETTINGS = """\
device = {device}
ledger = {ledger}
socket = {socket}

[broker]
address = {broker}
protocol = {protocol}

[windows]
width_seconds = 10

[delivery]
durable_seconds = {durable_seconds}
farewell_seconds = {farewell_seconds}

[attributes]
signal = {signal}
"""
DURABLE_SECONDS = 10.0
"""A window's, so that most cells go out once or twice."""
FAREWELL_SECONDS = 30.0
ANSWER_SECONDS = 1.0


class DemoAgent:
    """One `edgemse-agent` of the demo, with a ledger and a socket of its own."""

    def __init__(self, folder: Path, device: str, signal: str) -> None:
        self.device, self.signal = device, signal
        self.socket = folder / f"{device}.sock"
        self._settings = folder / f"{device}.toml"
        self._ledger = folder / f"{device}.sqlite"

    def command(self, broker: str, protocol: str) -> list[str]:
        """Write the settings file and return the command that runs the agent."""
        values: dict[str, object] = {
            "device": self.device,
            "ledger": str(self._ledger),
            "socket": str(self.socket),
            "broker": broker,
            "protocol": protocol,
            "durable_seconds": DURABLE_SECONDS,
            "farewell_seconds": FAREWELL_SECONDS,
            "signal": self.signal,
        }
        # A JSON string or number is a TOML one too.
        text = SETTINGS.format(**{name: json.dumps(value) for name, value in values.items()})
        self._settings.write_text(text)
        module = "edgemse_agent.command"
        return [sys.executable, "-P", "-m", module, "--config", str(self._settings)]

    def status(self) -> Status | None:
        """Ask the agent how it does; None if it does not answer (yet, or any more)."""
        try:
            return ask_status(self.socket, seconds=ANSWER_SECONDS)
        except (OSError, ValueError):
            return None
