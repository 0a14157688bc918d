"""The demo's side of a real agent: its settings file, its command, and its answer to `status`."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DemoAgent", "Status"]

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
commit_seconds = {commit_seconds}
farewell_seconds = {farewell_seconds}

[attributes]
signal = {signal}
"""
COMMIT_SECONDS = 3.0
FAREWELL_SECONDS = 30.0
ANSWER_SECONDS = 1.0
ANSWER_BYTES_MAX = 1_048_576


@dataclass(frozen=True, slots=True)
class Status:
    """What an agent says of itself."""

    collector_online: bool
    cells_waiting: int
    labels_waited_for: int
    health: Mapping[str, int]


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
            "commit_seconds": COMMIT_SECONDS,
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
            answer = self._ask(b'{"request": "status"}\n')
            status = json.loads(answer)["status"]
        except (OSError, ValueError):
            return None
        return Status(
            status["collector_online"],
            status["cells_waiting"],
            status["ids_waiting"],
            status["health"],
        )

    def _ask(self, line: bytes) -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(self.socket))
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                return answers.readline(ANSWER_BYTES_MAX)
