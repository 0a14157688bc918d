"""`edgemse` and `edgemse-agent` forked off a process that has imported them already.

A command is a process of its own as ever: its descriptors, environment, folder, signals, exit code
are those that it is given, and nothing of the tests is in it. What it saves is importing numpy,
DuckDB and typer each time, which is most of what a short command costs. How a program begins, how
it imports and what it is called by is for tests that start the real one.

Run as a program this is that process: `python forks.py SOCKET`. Each connection is one command.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

PROGRAMS = {"edgemse": "edgemse.cli.entry", "edgemse-agent": "edgemse_agent.entry"}
IMPORTED = (
    *PROGRAMS.values(),
    "edgemse.cli.running",
    "edgemse.cli.app",
    "edgemse.cli.collector",
    "edgemse.stores.duckdb",
    "edgemse.stores.postgres",
    "edgemse.web.server",
    "edgemse_agent.command",
)
"""With what they import, all that takes long; the rest a command imports itself."""

REQUEST_BYTES_MAX = 1 << 20
"""Arguments and environment of a command."""


class Forked:
    """One command; of subprocess.Popen what the tests use of it."""

    def __init__(
        self,
        program: str,
        arguments: Sequence[object],
        *,
        stdin: int | Any = None,
        stdout: Any,
        stderr: Any,
        env: Mapping[str, str] | None = None,
    ) -> None:
        asked = {
            "program": program,
            "arguments": [*map(str, arguments)],
            "env": dict(os.environ if env is None else env),
            "folder": str(Path.cwd()),
        }
        self.args = [program, *asked["arguments"]]
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._link = socket.socket(socket.AF_UNIX)
        weakref.finalize(self, self._link.close)  # of one that nobody waited for
        self._link.connect(_server())
        with Path(os.devnull).open() as nothing:
            files = (nothing if stdin is None else stdin, stdout, stderr)
            descriptors = [each if isinstance(each, int) else each.fileno() for each in files]
            # One byte carries the descriptors; the request follows, however long it is.
            socket.send_fds(self._link, [b"."], descriptors)
            self._link.sendall(json.dumps(asked).encode() + b"\n")
            self.pid = int(b"".join(iter(lambda: self._link.recv(1), b"\n")))

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code, negative where a signal ended it."""
        with self._lock:
            if self.returncode is None:
                self._link.settimeout(timeout)
                try:
                    end = self._link.recv(16)
                except (BlockingIOError, TimeoutError):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
                self.returncode = int(end)
                self._link.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_forked(
    program: str, arguments: Sequence[object], *, stdin: str = "", timeout: float = 60, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as subprocess.run does with captured text."""
    with ExitStack() as files:
        given, out, err = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin.encode())
        given.seek(0)
        forked = Forked(program, arguments, stdin=given, stdout=out, stderr=err, **more)
        try:
            code = forked.wait(timeout)
        except subprocess.TimeoutExpired:
            forked.kill()
            raise
        texts = [file.seek(0) or file.read().decode() for file in (out, err)]
    return subprocess.CompletedProcess(forked.args, code, *texts)


_servers: list[tuple[subprocess.Popen[bytes], str]] = []
"""None or one, and where it listens."""


def _server() -> str:
    """Return where the process listens that forks; start it the first time."""
    if not _servers:
        path = str(Path(tempfile.mkdtemp(prefix="edgemse-forks-")) / "s")
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the tests, and they end what they started
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # who forks has one thread
        )
        _servers.append((process, path))
        assert process.stdout is not None
        assert process.stdout.read(1) == b".", "it has not begun"
    return _servers[0][1]


def end_server() -> None:
    """End it, if it was started; it ends by itself too if this process is killed."""
    while _servers:
        process, _ = _servers.pop()
        process.communicate(timeout=30)


def serve(path: str) -> str:
    """Fork until standard input ends; return "" then, and in what was forked its program."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # what was imported is shared: no collection writes into it
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        os.write(1, b".")
        while 0 not in select.select([0, listener], [], [])[0]:
            link, _ = listener.accept()
            if not os.fork():
                listener.close()
                return _keep(link)
            link.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # keepers that have ended
                    pass
    shutil.rmtree(Path(path).parent)
    return ""


def _keep(link: socket.socket) -> str:
    """Fork the command and return in it; elsewhere tell its number and its end, and end."""
    _, descriptors, _, _ = socket.recv_fds(link, 1, 3)
    with link.makefile("rb") as lines:
        asked = json.loads(lines.readline(REQUEST_BYTES_MAX))
    number = os.fork()
    if not number:
        link.close()
        for place, each in enumerate(descriptors):
            os.dup2(each, place)
            os.close(each)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.argv = [asked["program"], *asked["arguments"]]
        return str(asked["program"])
    for each in (0, 1, 2, *descriptors):
        os.close(each)
    link.sendall(b"%d\n" % number)
    code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # who asked for it has gone
        link.sendall(b"%d" % code)
    os._exit(0)


if __name__ == "__main__":
    wanted = serve(sys.argv[1])
    if wanted:
        sys.exit(importlib.import_module(PROGRAMS[wanted]).main())
