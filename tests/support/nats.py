"""A real NATS server that speaks MQTT on a free port."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.broker import free_port, listens
from support.waiting import eventually


class Nats:
    """One server process; what it keeps lies in its folder, and is there after a new `start`."""

    protocol = "3.1.1"

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._log = directory / "nats.log"
        self._config = directory / "nats.conf"
        # Its MQTT needs JetStream, and JetStream a name.
        self._config.write_text(
            f"server_name: tests\nlisten: 127.0.0.1:{free_port()}\n"
            f'jetstream {{ store_dir: "{directory / "jetstream"}" }}\n'
            f"mqtt {{ listen: 127.0.0.1:{self.port} }}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = shutil.which("nats-server")
        assert binary is not None
        with self._log.open("ab") as log:
            process = subprocess.Popen([binary, "-c", str(self._config)], stdout=log, stderr=log)
        self._process = process
        eventually(lambda: process.poll() is not None or listens(self.port))
        assert process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
