"""Monitor: counts errors in the model's own process and hands cells to the agent."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from edgemse.errors import UnacknowledgedError
from edgemse.monitor.link import Link
from edgemse.monitor.own_cells import OwnCells
from edgemse.monitor.own_lines import OwnLines

__all__ = ["DEFAULT_SOCKET", "Monitor"]

log = logging.getLogger(__name__)

DEFAULT_SOCKET = Path("/run/edgemse/agent.sock")
SEND_EVERY_SECONDS = 1.0
_monitors: weakref.WeakSet[Monitor] = weakref.WeakSet()


class Monitor:
    """Counts errors in the model's own process and hands cells to the agent.

    A sample costs a method call: it is merged here, and once a second the cells that grew go to
    the agent over its socket. The agent may be away, restart, or come later: cells stay here until
    the agent says that they are durable, and none is counted twice. While the agent is away for
    long, windows become wider, so that memory stays bounded.

    `predict` and `label` are for labels that come late: their lines go to the agent, which joins
    them by id and remembers them when this process ends.

    Args:
        socket: the agent's Unix socket.
        model: the name of the model.
        version: its version.
        cells_max: cells to hold while no agent answers, before windows become wider.
        series_max: outputs and segments told apart; the rest is counted under "(overflow)".
        lines_max: lines of `predict` and `label` to hold; past that they are dropped and counted.
        clock: seconds since 1970-01-01 UTC.

    Thread safety: every method may be called from any thread. A forked child is a Monitor of its
    own, empty and not connected.
    """

    def __init__(
        self,
        socket: str | os.PathLike[str] = DEFAULT_SOCKET,
        model: str = "model",
        version: str = "",
        *,
        cells_max: int = 10_000,
        series_max: int = 1_000,
        lines_max: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._model, self._version = Path(socket).expanduser(), model, version
        self._cells_max, self._series_max, self._lines_max = cells_max, series_max, lines_max
        self._clock = clock
        self._begin()
        _monitors.add(self)

    def _begin(self) -> None:
        """Start empty, as a new producer, with a thread of this process."""
        self._lock = threading.Lock()
        self._durable = threading.Condition(self._lock)
        self._cells = OwnCells(
            self._model, self._version, cells_max=self._cells_max, series_max=self._series_max
        )
        self._lines = OwnLines(lines_max=self._lines_max)
        self._cell_link, self._line_link = Link(self._path), Link(self._path)
        self._closing = False
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="edgemse monitor", daemon=True)
        self._thread.start()

    def observe(
        self,
        y_true: float,
        y_pred: float,
        segment: str = "",
        weight: float = 1.0,
        ts: float | None = None,
        *,
        output: str = "",
    ) -> None:
        """Count one sample, of the time `ts` (seconds since 1970; default: now).

        NaN, infinite and huge values are counted as refused, as by ErrorStats.update.
        """
        at = self._clock() if ts is None else ts
        with self._lock:
            self._cells.add(output, segment, at, y_true, y_pred, weight)

    def predict(
        self,
        id: str | int,  # noqa: A002 - the word of the protocol
        y_pred: float,
        segment: str = "",
        weight: float = 1.0,
        ts: float | None = None,
        *,
        output: str = "",
    ) -> None:
        """Tell the agent of a prediction whose label is still to come, perhaps after a restart."""
        line = {
            "id": id,
            "y_pred": float(y_pred),
            "ts": self._clock() if ts is None else ts,
            "model": self._model,
            "version": self._version,
            "output": output,
            "segment": segment,
            "weight": weight,
        }
        self._add(line)

    def label(
        self,
        id: str | int,  # noqa: A002 - the word of the protocol
        y_true: float,
        ts: float | None = None,
        *,
        output: str | None = None,
    ) -> None:
        """Tell the agent of the label of that id; it meets this model's prediction."""
        line = {
            "id": id,
            "y_true": float(y_true),
            "ts": self._clock() if ts is None else ts,
            "model": self._model,
            "version": self._version,
        }
        self._add(line if output is None else line | {"output": output})

    def flush(self, timeout_seconds: float = 60.0) -> None:
        """Send everything and wait until it is durable; UnacknowledgedError if that takes longer.

        While the collector answers it takes about a second, else until the agent's next commit.
        """
        end = time.monotonic() + timeout_seconds
        self._wake()
        with self._durable:
            while self._cells.undurable or len(self._lines):
                left = end - time.monotonic()
                if left <= 0:
                    raise UnacknowledgedError(
                        f"{self._cells.undurable} cells, {len(self._lines)} lines are not durable"
                        f" after {timeout_seconds:g} s; does the agent run at {self._path}?"
                    )
                self._durable.wait(left)

    def close(self, timeout_seconds: float = 60.0) -> None:
        """Close all cells, flush, and end; UnacknowledgedError if not all of it became durable."""
        if self._closing:
            return
        with self._lock:
            self._cells.close_ended(self._clock(), everything=True)
        try:
            self.flush(timeout_seconds)
        finally:
            self._closing = True
            self._wake()
            self._thread.join()
            self._hang_up()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except UnacknowledgedError as late:
            if error is None:
                raise
            log.error("%s", late)  # the error that ended the block is the one to see

    def counters(self) -> dict[str, int]:
        """Return what is held here, and what each bound has cost."""
        with self._lock:
            return {
                "cells_undurable": self._cells.undurable,
                "samples_overflowed": self._cells.overflowed,
                "lines_waiting": len(self._lines),
                "lines_dropped": self._lines.dropped,
                "lines_given_up": self._lines.given_up,
            }

    def _add(self, line: Mapping[str, object]) -> None:
        with self._lock:
            self._lines.add(line)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is awake already
            self._wake_write.send(b"\0")

    def _hang_up(self) -> None:
        for end in (self._cell_link, self._line_link, self._wake_read, self._wake_write):
            end.close()

    def _after_fork(self) -> None:
        self._hang_up()  # closes this process's copies only
        self._begin()

    def _run(self) -> None:
        while not self._closing:
            self._exchange_cells()
            self._exchange_lines()
            with self._durable:
                self._durable.notify_all()
            poller = select.poll()
            for end in (self._wake_read, self._cell_link, self._line_link):
                if end.fileno() >= 0:
                    poller.register(end, select.POLLIN)
            woken = [fd for fd, _ in poller.poll(SEND_EVERY_SECONDS * 1000)]
            if self._wake_read.fileno() in woken:
                self._wake_read.recv(4096)

    def _exchange_cells(self) -> None:
        link = self._cell_link
        again = not link.open
        with self._lock:
            self._cells.close_ended(self._clock())
            hello = {"producer": self._cells.producer.hex()}
        if again and not link.connect(hello):
            return
        with self._lock:
            lines = self._cells.lines(again=again)
        link.send(lines)
        for reply in link.receive():
            with self._lock:
                self._cells.width_seconds = reply.get("width_seconds", self._cells.width_seconds)
                for sequence, revision in reply.get("durable_cells", ()):
                    self._cells.durable(sequence, revision)
            self._log_error(reply)

    def _exchange_lines(self) -> None:
        link = self._line_link
        with self._lock:
            if not link.open and not len(self._lines):
                return
            hello = self._lines.hello() if not link.open else None
        if hello is not None and not link.connect(hello):
            return
        for reply in link.receive():
            with self._lock:
                again = None
                if "received" in reply:
                    again = self._lines.resume(reply["ledger"], reply["received"])
                self._lines.durable(reply.get("durable", 0))
            if again is not None:
                link.send([json.dumps(again).encode()])
            self._log_error(reply)
        with self._lock:
            lines = self._lines.due()
        link.send(lines)

    def _log_error(self, reply: dict[str, object]) -> None:
        if "error" in reply:
            log.warning("the agent at %s: %s", self._path, reply["error"])


def _after_fork_in_child() -> None:
    for monitor in list(_monitors):
        monitor._after_fork()  # noqa: SLF001 - same module


os.register_at_fork(after_in_child=_after_fork_in_child)
