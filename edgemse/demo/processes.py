"""The demo's processes: each in a group of its own, none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from edgemse.errors import DemoError

__all__ = ["Processes"]

OWN_CODES = range(64, 82)
"""What edgemse's commands exit with on errors of their own; see edgemse.errors."""
STOP_SECONDS = 5.0
"""So long a process may take to end when the demo is broken off; then it is killed."""


class Processes:
    """Starts, watches and ends processes by name; a context manager that ends them all.

    Each has its own group, so that Ctrl-C in the terminal reaches the demo alone, which then ends
    the others in order. What they print goes into one file each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._asked: set[str] = set()
        """Those that were asked to end."""

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process; its standard input stays open until `close_input`."""
        assert name not in self._running, name
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def close_input(self, name: str) -> None:
        """Ask a process to end that does so when its standard input ends."""
        self._asked.add(name)
        pipe = self._running[name].stdin
        assert pipe is not None
        pipe.close()

    def terminate(self, name: str) -> None:
        """Ask a process to end that does so on SIGTERM."""
        self._asked.add(name)
        self._send(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """End a process at once, so that it loses what it holds in memory."""
        self._send(name, signal.SIGKILL)
        self._forget(name)

    def ended(self, name: str) -> bool:
        """Tell whether a process that was asked to end has ended, and forget it then.

        Raises DemoError if it reports a failure.
        """
        assert name in self._asked, name
        code = self._running[name].poll()
        if code is None:
            return False
        self._forget(name)
        if code != 0:
            raise self._failure(name, code)
        return True

    def check(self) -> None:
        """Raise DemoError if a process has ended that nobody asked to."""
        for name, process in self._running.items():
            code = process.poll()
            if code is not None and name not in self._asked:
                raise self._failure(name, code)

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for name in self._running:
            self._send(name, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        for name, process in self._running.items():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            self._send(name, signal.SIGKILL)
        for name in tuple(self._running):
            self._forget(name)

    def _send(self, name: str, number: int) -> None:
        process = self._running[name]
        if process.poll() is None:
            with suppress(ProcessLookupError):  # it ended just now
                os.killpg(process.pid, number)

    def _forget(self, name: str) -> None:
        self._asked.discard(name)
        process = self._running.pop(name)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _failure(self, name: str, code: int) -> DemoError:
        lines = self._log(name).read_text(errors="replace").strip().splitlines()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        last = lines[-1].removeprefix("edgemse: ") if lines else "it said nothing"
        error = DemoError(f"{name} {how}: {last}")
        if code in OWN_CODES:
            error.exit_code = code  # it says more than ours
        return error
