"""A real RabbitMQ with its MQTT plugin on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from support.broker import free_port, listens
from support.waiting import eventually

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's; the command on PATH only changes the user before it starts this one."""


class RabbitMQ:
    """One broker process with a node name, ports and a folder of its own; it keeps its queues."""

    protocol = "3.1.1"

    def __init__(self, directory: Path) -> None:
        self.port, distribution = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        plugins = directory / "plugins"
        plugins.write_text("[rabbitmq_mqtt].\n")
        config = directory / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{free_port()}\n"
            f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "mqtt.allow_anonymous = true\nmqtt.default_user = guest\nmqtt.default_pass = guest\n"
        )
        self._environment = os.environ | {
            "HOME": str(directory),
            "RABBITMQ_NODENAME": f"edgemse{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(directory),
            "RABBITMQ_LOG_BASE": str(directory),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONFIG_FILE": str(config),
            # One scheduler: by default each of a machine's cores spins while it waits.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def start(self) -> None:
        with (self._directory / "rabbitmq.out").open("ab") as log:
            self._process = subprocess.Popen(
                [str(SERVER)],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        process = self._process
        eventually(lambda: process.poll() is not None or listens(self.port), 60)
        assert process.poll() is None, (self._directory / "rabbitmq.out").read_text()

    def stop(self) -> None:
        if self._process is not None:
            # Erlang runs below a shell: the whole group goes.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            eventually(lambda: not listens(self.port))
