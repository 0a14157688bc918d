"""The `edgemse` command, run as people run it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.broker import free_port
from support.forks import Forked, run_forked
from support.waiting import eventually

EDGEMSE = str(Path(sys.executable).with_name("edgemse"))


def edgemse(*arguments: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return run_forked("edgemse", arguments, **settings)


class CollectorProcess:
    """`edgemse collector` on a store, until it is stopped or killed."""

    def __init__(
        self,
        store: Path | str,
        broker: str,
        *options: str,
        token: str = "",
        log: Path | None = None,
    ) -> None:
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = log or Path(store).with_suffix(".log")
        given = ["--store", str(store)] if store else []  # or the options have it in a file
        self._arguments = ["collector", *given, "--broker", broker]
        self._arguments += ["--http", self.url.removeprefix("http://"), *options]
        self.process: Forked | subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str] = ()) -> None:
        """Start it; with a command by that, as a program of its own."""
        with self._log.open("ab") as log:
            if command:
                arguments = [*command, *self._arguments]
                self.process = subprocess.Popen(arguments, stdout=log, stderr=log)
            else:
                self.process = Forked("edgemse", self._arguments, stdout=log, stderr=log)
        eventually(self._ready)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def fails(self, command: Sequence[str] = (EDGEMSE,)) -> int:
        """Start it where it cannot run, and return its exit code."""
        arguments = [*command, *self._arguments]
        return subprocess.run(arguments, stderr=subprocess.DEVNULL, timeout=60).returncode

    def log(self) -> str:
        return self._log.read_text()

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()
        try:
            return self.get("/health")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, Any]:
        try:
            request = urllib.request.Request(self.url + path, headers=self._headers)
            with urllib.request.urlopen(request, timeout=10) as response:
                body = response.read().decode()
                status = response.status
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read().decode()
        return status, json.loads(body) if body[:1] in "{[" else body

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(30)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def total_of(source: object, by: Sequence[str] = ("device",)) -> dict[str, Any]:
    """Return what `edgemse fleet variance` says of a store or a collector."""
    options = [option for column in by for option in ("--by", column)]
    done = edgemse("fleet", "variance", "--from", source, *options, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
