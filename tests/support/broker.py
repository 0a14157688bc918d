"""A real Mosquitto on a free port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path

from support.waiting import eventually

PORTS = range(10_240, 32_768)
"""Below those that Linux gives to outgoing connections (32,768 and more), above well-known ones."""


def mosquitto_binary() -> str | None:
    """Return where Mosquitto is, sbin included, which is not on every PATH."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _ports() -> Iterator[int]:
    """Yield this process's ports, round and round; no other worker of pytest-xdist has them."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = PORTS[worker::workers]
    first = os.getpid() * 7_919 % len(own)  # another run beside this one begins elsewhere
    return cycle([*own[first:], *own[:first]])


_own_ports = _ports()


def free_port() -> int:
    """Return a port that nothing has, nor gets before this process has had all its others."""
    for port in _own_ports:
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("ports come round for ever")


def listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(0.5)
        return client.connect_ex(("127.0.0.1", port)) == 0


class Mosquitto:
    """One broker process; `restart` loses everything that it remembered.

    Args:
        directory: Where its files go.
        passwords: User names and passwords; empty: everybody may come in.
        tls: Its certificate and key, if it encrypts.
        access: Lines of an access list; `reload` takes new ones.
        settings: Further lines of its configuration.
    """

    protocol = "5"

    def __init__(
        self,
        directory: Path,
        passwords: dict[str, str] | None = None,
        *,
        access: str = "",
        tls: tuple[Path, Path] | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} 127.0.0.1", "persistence false"]
        if os.geteuid() == 0:
            lines.append("user root")
        if passwords:
            path = directory / "passwords"
            path.write_text("".join(f"{name}:{word}\n" for name, word in passwords.items()))
            path.chmod(0o600)
            binary = mosquitto_binary() or ""
            tool = shutil.which("mosquitto_passwd") or binary.replace("sbin", "bin") + "_passwd"
            subprocess.run([tool, "-U", str(path)], check=True)
            lines += ["allow_anonymous false", f"password_file {path}"]
        else:
            lines.append("allow_anonymous true")
        if tls is not None:
            lines += [f"certfile {tls[0]}", f"keyfile {tls[1]}"]
        self._access = directory / "access"
        if access:
            self._access.write_text(access)
            self._access.chmod(0o600)
            lines.append(f"acl_file {self._access}")
        self._config = directory / "mosquitto.conf"
        self._config.write_text("\n".join([*lines, *settings]) + "\n")

    def start(self) -> None:
        binary = mosquitto_binary()
        assert binary is not None
        with (self._directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "-c", str(self._config)], stdout=log, stderr=log
            )
        process = self._process
        eventually(lambda: process.poll() is not None or listens(self.port))
        assert process.poll() is None, (self._directory / "mosquitto.log").read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def reload(self, access: str) -> None:
        """Take a new access list, connections and messages as they are."""
        assert self._process is not None
        self._access.write_text(access)
        self._process.send_signal(signal.SIGHUP)

    def restart(self) -> None:
        self.stop()
        self.start()
