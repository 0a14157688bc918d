"""Monitor at its ends: waiting, closing, leaving it open, forks, and strangers on the socket."""

from __future__ import annotations

import contextlib
import multiprocessing
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgemse_agent.ledger import Ledger
from edgemse_agent.service import hardware_serial
from support.agent import AgentProcess
from support.waiting import eventually

from edgemse import Monitor
from edgemse.cells import unseal
from edgemse.errors import UnacknowledgedError
from edgemse.monitor import monitor as module

NOBODY = "127.0.0.1:9"
"""A broker that is not there: port 9 is discard's."""

LEFT_OPEN = """
import sys
from edgemse import Monitor
for number in range({monitors}):
    monitor = Monitor({path!r}, f"model {{number}}")
    for i in range(1_000):
        monitor.observe(0.0, 1.0)
    monitor.predict(number, 2.0)
"""


class Listener(socketserver.ThreadingUnixStreamServer):
    """Something that is no agent: it answers whatever comes with the same bytes."""

    daemon_threads = True

    def __init__(self, path: Path, answer: bytes) -> None:
        self.heard = b""
        self.answer = answer
        super().__init__(str(path), Stranger)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Stranger(socketserver.BaseRequestHandler):
    server: Listener

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(65_536):
                self.server.heard += data
                self.request.sendall(self.server.answer)


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[[bytes], Listener]]:
    with contextlib.ExitStack() as stack:

        def start(answer: bytes) -> Listener:
            return stack.enter_context(contextlib.closing(Listener(tmp_path / "a.sock", answer)))

        yield start


def given_up(monitor: Monitor) -> None:
    with pytest.raises(UnacknowledgedError):
        monitor.close(0.01)


def test_waiting_asks_once_a_second_and_not_as_fast_as_it_can(
    tmp_path: Path, listen: Callable[[bytes], Listener]
) -> None:
    listener = listen(b"")
    monitor = Monitor(tmp_path / "a.sock")
    monitor.observe(1.0, 2.0)
    with pytest.raises(UnacknowledgedError):
        monitor.flush(1.5)
    given_up(monitor)
    assert 1 <= listener.heard.count(b'{"request": "flush"}') <= 4


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\n",
        b"[1]\n",
        b"\xff\n",
        b'{"durable_cells": 5}\n',
        b'{"width_seconds": 7}\n',
        b'{"refused_cell": [1]}\n',
        b'{"received": "x"}\n',
    ],
)
def test_a_stranger_on_the_socket_is_told_and_ends_nothing(
    tmp_path: Path, listen: Callable[[bytes], Listener], answer: bytes
) -> None:
    listen(answer)
    monitor = Monitor(tmp_path / "a.sock")
    monitor.observe(1.0, 2.0)
    monitor.predict(1, 2.0)
    eventually(lambda: "no agent:" in repr(monitor))
    assert monitor.counters()["complaints"] >= 1
    assert monitor._thread.is_alive()
    assert monitor._cells.width_seconds == 60
    given_up(monitor)


def test_waiting_after_close_ends_at_once(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "nobody.sock")
    monitor.observe(1.0, 2.0)
    given_up(monitor)
    began = time.monotonic()
    with pytest.raises(UnacknowledgedError, match="1 cell, 0 lines not durable"):
        monitor.flush()
    assert time.monotonic() - began < 30


def _observed(monitor: Monitor, answers: object) -> None:
    try:
        monitor.observe(1.0, 2.0)
        answers.put("taken")
    except ValueError as error:
        answers.put(str(error))
    answers.close()
    answers.join_thread()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_child_of_a_closed_monitor_is_closed(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "nobody.sock")
    monitor.close()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_observed, args=(monitor, answers))
    child.start()
    assert answers.get(timeout=30) == "this Monitor is closed; make another one"
    child.join(30)
    assert child.exitcode == 0
    answers.close()
    answers.join_thread()


def test_the_end_of_the_process_waits_once_for_all_monitors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "EXIT_SECONDS", 0.5)
    monitors = [Monitor(tmp_path / "nobody.sock") for _ in range(20)]
    for monitor in monitors:
        monitor.observe(1.0, 2.0)
    monkeypatch.setattr(module, "_monitors", monitors)
    began = time.monotonic()
    module._at_exit()
    assert time.monotonic() - began < 5
    assert len(caplog.messages) == 20


def test_what_monitors_left_open_hold_is_handed_over_at_exit(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, NOBODY, "5", durable_seconds=75)
    agent.start()
    try:
        code = LEFT_OPEN.format(monitors=5, path=str(agent.socket))
        ran = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60
        )
        waiting = agent.status()["ids_waiting"]
    finally:
        agent.kill()
    assert (ran.returncode, ran.stderr, waiting) == (0, "", 5)
    with contextlib.closing(Ledger(agent.ledger, hardware=hardware_serial())) as ledger:
        held = [unseal(each.cell) for each in ledger.due(100)]
    assert sum(cell.stats.count for cell in held) == 5_000
    assert len({cell.series.model for cell in held if cell.stats.count}) == 5
