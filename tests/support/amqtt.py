"""The demo's embedded broker, a process of its own, with Mosquitto's face for tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.broker import free_port, listens
from support.waiting import eventually


class Amqtt:
    """One broker process; `restart` loses everything that it remembered."""

    protocol = "3.1.1"

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._log = directory / "amqtt.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-P", "-m", "edgemse.demo.broker", str(self.port)]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self._process = process
        eventually(lambda: process.poll() is not None or listens(self.port))
        assert process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()
