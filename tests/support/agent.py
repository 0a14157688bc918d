"""`edgemse-agent` run as people run it, and a client of it that resends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgemse.monitor.link import Link
from edgemse.monitor.own_lines import OwnLines
from support.waiting import eventually

AGENT = [sys.executable, "-P", "-m", "edgemse_agent.command"]


class AgentProcess:
    """One device's agent; `kill` is SIGKILL, its ledger stays."""

    def __init__(self, folder: Path, broker: str, protocol: str, **delivery: float) -> None:
        self.socket = folder / "a.sock"
        self.ledger = folder / "ledger.sqlite"
        self._log = folder / "agent.log"
        self._config = folder / "agent.toml"
        timing = {"commit_seconds": 0.5, "farewell_seconds": 20.0} | delivery
        self._config.write_text(
            f'device = "pi-1"\nledger = "{self.ledger}"\nsocket = "{self.socket}"\n'
            f'[broker]\naddress = "{broker}"\nprotocol = "{protocol}"\n'
            "[windows]\nwidth_seconds = 10\n[delivery]\n"
            + "".join(f"{key} = {value}\n" for key, value in timing.items())
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*AGENT, "--config", str(self._config)], stdout=log, stderr=log
            )
        eventually(self.answers)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()
        try:
            return bool(self.status())
        except OSError:
            return False

    def status(self) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket))
            connection.sendall(b'{"request": "status"}\n')
            with connection.makefile() as lines:
                found: dict[str, Any] = json.loads(lines.readline())["status"]
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(40)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return self._log.read_text()


class ResendingClient:
    """Writes numbered lines, and after every reconnect goes on where the ledger stands."""

    def __init__(self, path: Path) -> None:
        self.lines = OwnLines(lines_max=1_000_000)
        self._link = Link(path)

    def add(self, **line: object) -> None:
        self.lines.add(line)

    def exchange(self) -> bool:
        """Send what is due, take what is there; True once everything is durable."""
        if not self._link.open and not self._link.connect(self.lines.hello()):
            return False
        for reply in self._link.receive():
            assert "error" not in reply, reply
            if "received" in reply:
                again = self.lines.resume(reply["ledger"], reply["received"])
                if again is not None:
                    self._link.send([json.dumps(again).encode()])
            self.lines.durable(reply.get("durable", 0))
        self._link.send(self.lines.due())
        return not len(self.lines)

    def close(self) -> None:
        self._link.close()
