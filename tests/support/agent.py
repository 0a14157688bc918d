"""`edgemse-agent` run as people run it, and a client of it that resends."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from edgemse_agent.status import ask_status

from edgemse.monitor.link import Link
from edgemse.monitor.session import SessionConversation
from support.forks import Forked
from support.waiting import eventually

AGENT = [sys.executable, "-P", "-m", "edgemse_agent.command"]


class AgentProcess:
    """One device's agent; `kill` is SIGKILL, its ledger stays. `more` ends its settings."""

    def __init__(
        self,
        folder: Path,
        broker: str,
        protocol: str,
        more: str = "",
        *,
        clock_trust: str = "auto",
        **delivery: float,
    ) -> None:
        self.socket = folder / "a.sock"
        self.ledger = folder / "ledger.sqlite"
        self._log = folder / "agent.log"
        self.config = folder / "agent.toml"
        timing = {"durable_seconds": 0.5, "farewell_seconds": 20.0} | delivery
        self._trust = clock_trust
        self.config.write_text(
            f'device = "pi-1"\nledger = "{self.ledger}"\nsocket = "{self.socket}"\n'
            f'[broker]\naddress = "{broker}"\nprotocol = "{protocol}"\n'
            "[windows]\nwidth_seconds = 10\n[delivery]\n"
            + "".join(f"{key} = {value}\n" for key, value in timing.items())
            + f'[clock]\ntrust = "{clock_trust}"\n'
            + more
        )
        self.process: Forked | None = None

    def trust_clock(self, trust: str) -> None:
        """Change the setting; the next start reads it."""
        text = self.config.read_text()
        self.config.write_text(text.replace(f'"{self._trust}"', f'"{trust}"'))
        self._trust = trust

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = Forked(
                "edgemse-agent", ["--config", self.config], stdout=log, stderr=log
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
        return ask_status(self.socket, seconds=5).to_json()

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
        self.session = SessionConversation(lines_max=1_000_000)
        self._link = Link(path)

    def add(self, **line: object) -> None:
        self.session.add(line)

    def exchange(self) -> bool:
        """Send what is due, take what is there; True once everything is durable."""
        if not self._link.open:
            if not self._link.connect():
                return False
            self._link.send([self.session.hello()])
        for reply in self._link.receive():
            assert "error" not in reply, reply
            self.session.heard(reply)
        self._link.send(self.session.due())
        return not len(self.session)

    def close(self) -> None:
        self._link.close()
