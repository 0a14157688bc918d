"""Monitor: counts errors in the model's own process and hands cells to the agent."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import select
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from edgemse.counters import Counters, counter, gauge
from edgemse.errors import UnacknowledgedError
from edgemse.growing import MEANINGS as GROWING
from edgemse.measures import check_measure, checked_interval, interval_numbers
from edgemse.monitor.cells import CellConversation
from edgemse.monitor.checks import (
    as_double,
    checked_beside,
    checked_id,
    checked_names,
    checked_number,
    checked_time,
    line_time,
    plausible,
)
from edgemse.monitor.clock import ANSWER_SECONDS, DeviceClock
from edgemse.monitor.link import Link
from edgemse.monitor.session import SessionConversation
from edgemse.names import counted
from edgemse.stats.measures import follow_loss
from edgemse.stats.observer import Guard, Observer

__all__ = ["DEFAULT_SOCKET", "MEANINGS", "Monitor"]

log = logging.getLogger(__name__)

DEFAULT_SOCKET = Path("/run/edgemse/agent.sock")
SEND_EVERY_SECONDS = 1.0
EXIT_SECONDS = 8.0
"""How long a process that ends without `close` waits for all its Monitors' cells to be durable.
Longer than the five seconds that an agent gives the collector before its ledger takes over."""

MEANINGS = {
    **GROWING,
    "times_bounded": counter(
        "samples of an impossible clock, counted at the nearest possible time"
    ),
    "cells_undurable": gauge("cells that would not survive this process"),
    "cells_refused": counter("cells that the agent refused for good; the log says why"),
    "lines_waiting": gauge("lines of predict and label that are not durable"),
    "lines_dropped": counter("lines of predict and label past lines_max"),
    "lines_given_up": counter("lines sent to a ledger that was lost before it confirmed them"),
    "complaints": counter("errors that the agent told, and answers of what is no agent"),
}
_monitors: weakref.WeakSet[Monitor] = weakref.WeakSet()


class Monitor(Observer):
    """Counts errors in the model's own process and hands cells to the agent.

    A sample costs a method call: it is merged here, and once a second the cells that grew go to
    the agent over its socket. The agent may be away, restart, or come later: cells stay here until
    the agent says that they are durable, and none is counted twice. While the agent is away for
    long, windows become wider, so that memory stays bounded.

    `predict` and `label` are for labels that come late: their lines go to the agent, which joins
    them by id and remembers them when this process ends.

    Call `close`, or use it as a context manager: then everything is handed over before the process
    ends. One that ends without waits eight seconds for that, and says what it could not hand over;
    a process that is killed, or leaves by os._exit, loses its last second.

    What the agent would refuse for ever raises TypeError or ValueError at the call.

    Args:
        socket: the agent's Unix socket.
        model: the name of the model.
        version: its version.
        cells_max: cells to hold while no agent answers, before windows become wider.
        series_max: outputs and segments told apart; the rest is counted under "(overflow)".
        lines_max: lines of `predict` and `label` to hold; past that they are dropped and counted.
        clock: seconds since 1970-01-01 UTC; default: the device's time as the agent knows it.

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
        clock: Callable[[], float] | None = None,
    ) -> None:
        checked_names(model=model, version=version)
        if not model:
            raise ValueError("model: got an empty name")
        self._path, self._model, self._version = Path(socket).expanduser(), model, version
        self._cells_max, self._series_max, self._lines_max = cells_max, series_max, lines_max
        self._given_clock = clock
        self._begin()
        _monitors.add(self)

    def _begin(self, *, closed: bool = False) -> None:
        """Start empty, as a new producer, with a thread of this process unless it is `closed`."""
        self.guard = self._lock = Guard()
        self._durable = threading.Condition(self._lock)  # type: ignore[arg-type]  # as a Lock
        self._counters = Counters(MEANINGS)
        self._device_clock, self._greeted_at = DeviceClock(), math.inf
        self._read_by(self._given_clock or self._device_clock.now)
        self._cells = CellConversation(
            self._model,
            self._version,
            self._counters,
            cells_max=self._cells_max,
            series_max=self._series_max,
            clock=lambda: self._clock(),
        )
        self.latest = self._cells.latest
        if self._given_clock is None:
            self._cells.await_clock()
        self._session = SessionConversation(lines_max=self._lines_max)
        self._cell_link, self._line_link = Link(self._path), Link(self._path)
        self._last_error = ""
        self._closing = self.closed = closed
        if closed:
            return
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="edgemse monitor", daemon=True)
        self._thread.start()

    def _observe(
        self,
        y_true: float,
        y_pred: float,
        segment: str,
        weight: float,
        ts: float | None,
        output: str,
        loss: str,
        latency: float | None,
        features: Mapping[str, float] | None,
        lower: float | None,
        upper: float | None,
    ) -> None:
        """Count one sample the long way: `observe` has found that it needs it."""
        at = self._clock() if ts is None else checked_time(ts)
        numbers = checked_beside(latency, features)
        interval = checked_interval(lower, upper)
        if interval is not None:
            numbers += interval_numbers(as_double(y_true), *interval)
        if loss:
            followed = follow_loss(loss)
            value = followed.value(as_double(y_true), as_double(y_pred))
            numbers += ((followed.measure, value),)
        with self._lock:
            self._check_open()
            self._cells.add(output, segment, at, y_true, y_pred, weight)
            if numbers:
                self._cells.follow(numbers, output, segment, at, weight)

    def follow(
        self,
        measure: str,
        value: float,
        segment: str = "",
        weight: float = 1.0,
        ts: float | None = None,
        *,
        output: str = "",
    ) -> None:
        """Count one number of a measure (`latency`, `feature:temperature`), apart from the errors.

        Raises as `observe` does.
        """
        checked_names(measure=measure, output=output, segment=segment)
        check_measure(measure)
        number = checked_number("value", value)
        at = self._clock() if ts is None else checked_time(ts)
        with self._lock:
            self._check_open()
            self._cells.follow(((measure, number),), output, segment, at, weight)

    def predict(
        self,
        id: str | int,  # noqa: A002 - the word of the protocol
        y_pred: float,
        segment: str = "",
        weight: float = 1.0,
        ts: float | None = None,
        *,
        output: str = "",
        loss: str = "",
        latency: float | None = None,
        features: Mapping[str, float] | None = None,
        lower: float | None = None,
        upper: float | None = None,
    ) -> None:
        """Tell the agent of a prediction whose label is still to come, perhaps after a restart.

        What else it takes is as with `observe`: latency and features count at once, a loss and an
        interval with the label. Raises as `observe` does; also for an id that is neither text nor a
        whole number.
        """
        checked_names(output=output, segment=segment)
        checked_beside(latency, features)
        line: dict[str, object] = {
            "id": checked_id(id),
            "y_pred": checked_number("y_pred", y_pred),
            **self._when(ts),
            "model": self._model,
            "version": self._version,
            "output": output,
            "segment": segment,
            "weight": checked_number("weight", weight, above=0.0),
        }
        if loss:
            line["loss"] = follow_loss(loss).measure
        more = {"latency": latency, "lower": lower, "upper": upper}
        given = {name: checked_number(name, x) for name, x in more.items() if x is not None}
        checked_interval(given.get("lower"), given.get("upper"))
        if features:
            line["features"] = {n: checked_number(n, x) for n, x in features.items()}
        self._add(line | given)

    def label(
        self,
        id: str | int,  # noqa: A002 - the word of the protocol
        y_true: float,
        ts: float | None = None,
        *,
        output: str | None = None,
    ) -> None:
        """Tell the agent of the label of that id; it meets this model's prediction.

        Raises as `predict` does.
        """
        line = {
            "id": checked_id(id),
            "y_true": checked_number("y_true", y_true),
            **self._when(ts),
            "model": self._model,
            "version": self._version,
        }
        if output is not None:
            checked_names(output=output)
            line["output"] = output
        self._add(line)

    def flush(self, timeout_seconds: float = 60.0) -> None:
        """Send everything and wait until it is durable; UnacknowledgedError if that takes longer.

        While the collector answers it takes about a second, else until the agent's next commit.
        """
        ask_at = time.monotonic()
        end = ask_at + timeout_seconds
        with self._durable:
            while self._cells.undurable or len(self._session):
                left = 0.0 if self._closing else end - time.monotonic()
                if left <= 0:
                    raise UnacknowledgedError(
                        f"{counted(self._cells.undurable, 'cell')},"
                        f" {counted(len(self._session), 'line')} not durable"
                        f" after {timeout_seconds:g} s; does the agent run at {self._path}?"
                    )
                # Asked anew, since a connection that breaks takes the request with it; but by the
                # clock: each turn of the thread wakes this one, and asking wakes the thread.
                now = time.monotonic()
                if now >= ask_at:
                    ask_at = now + SEND_EVERY_SECONDS
                    self._ask()
                self._durable.wait(min(left, ask_at - now))

    def close(self, timeout_seconds: float = 60.0) -> None:
        """Close all cells, flush, and end; UnacknowledgedError if not all of it became durable.

        Nothing can be observed afterwards. A second call does nothing.
        """
        if self._closing:
            return
        self._end()
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
        """Return what is held here, and what each bound has cost, by the names in MEANINGS."""
        with self._lock:
            self._counters.set("cells_undurable", self._cells.undurable)
            self._counters.set("lines_waiting", len(self._session))
            return self._counters.snapshot() | {
                "lines_dropped": self._session.dropped,
                "lines_given_up": self._session.given_up,
            }

    def __repr__(self) -> str:
        held = {name: count for name, count in self.counters().items() if count}
        shown = "".join(f", {name}={count}" for name, count in held.items())
        error = f", last error: {self._last_error}" if self._last_error else ""
        return f"Monitor({str(self._path)!r}, {self._model!r}, {self._version!r}{shown}{error})"

    def _end(self) -> None:
        """Take nothing more, and ask that all of it becomes durable."""
        with self._lock:
            self.closed = True
            self._cells.close_ended(self._clock(), everything=True)
            self._ask()

    def _ask(self) -> None:
        """Let the thread ask the agent not to wait."""
        self._cells.flush()
        self._session.flush()
        self._wake()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("this Monitor is closed; make another one")

    def _add(self, line: Mapping[str, object]) -> None:
        with self._lock:
            self._check_open()
            self._session.add(line)

    def _when(self, ts: float | None) -> dict[str, float | str]:
        """Return the line's time; from the boot on, while nobody knows it.

        A clock of the caller's that says what cannot be says nothing: the agent's time counts.
        """
        if ts is not None:
            return {"ts": line_time(checked_time(ts))}
        now = self._clock()
        if plausible(now):
            return {"ts": line_time(now)}
        return {} if self._given_clock else {"boot": self._device_clock.boot()}

    def _follow_clock(self, reply: Mapping[str, object]) -> None:
        """Take what the agent says of the time."""
        offset = self._device_clock.heard(reply)
        if self._given_clock is None and offset is not None:
            self._cells.follow_clock(self._device_clock.follow(offset))
            self._read_by(self._device_clock.reader())

    def _read_clock(self) -> None:
        """Choose anew what is read; an agent that greets nobody leaves us the wall clock."""
        if self._given_clock is not None:
            return
        clock = self._device_clock
        if not clock.told and time.monotonic() - self._greeted_at >= ANSWER_SECONDS:
            self._cells.follow_clock(clock.follow(clock.wall_offset()))
        self._read_by(clock.reader())

    def _read_by(self, clock: Callable[[], float]) -> None:
        """Read the time there from now on; `observe` reads it itself unless it is the caller's."""
        self._clock, self.ticking = clock, clock is time.time
        self.ahead = self._device_clock.offset
        self.counting = self._given_clock is None and not self.ticking

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already; closed: it has ended
            self._wake_write.send(b"\0")

    def _hang_up(self) -> None:
        for end in (self._cell_link, self._line_link, self._wake_read, self._wake_write):
            end.close()

    def _after_fork(self) -> None:
        self._hang_up()  # closes this process's copies only
        self._begin(closed=self.closed)

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
            wait = SEND_EVERY_SECONDS if self._device_clock.told else ANSWER_SECONDS
            woken = [fd for fd, _ in poller.poll(wait * 1000)]
            if self._wake_read.fileno() in woken:
                self._wake_read.recv(4096)

    def _exchange_cells(self) -> None:
        with self._lock:
            self._read_clock()
            self._cells.close_ended(self._clock())
        self._exchange(self._cell_link, self._cells)

    def _exchange_lines(self) -> None:
        if self._line_link.open or len(self._session):
            self._exchange(self._line_link, self._session)

    def _exchange(self, link: Link, conversation: CellConversation | SessionConversation) -> None:
        """Let the conversation hear what is there and say what is due.

        Whatever is the matter with that, this thread goes on, and begins anew a second later.
        """
        try:
            self._talk(link, conversation)
        except Exception as error:
            link.close()
            self._note(f"what answers there is no agent: {type(error).__name__}: {error}")

    def _talk(self, link: Link, conversation: CellConversation | SessionConversation) -> None:
        if not link.open:
            if not link.connect():
                self._last_error = "no agent listens"
                return
            with self._lock:
                hello = conversation.hello()
                if conversation is self._cells:
                    self._greeted_at = time.monotonic()
            link.send([hello])
        for reply in link.receive():
            with self._lock:
                conversation.heard(reply)
                if conversation is self._cells:
                    self._follow_clock(reply)
            if "error" in reply:
                self._note(str(reply["error"]))
        if link.open:
            with self._lock:
                lines = conversation.due()
            link.send(lines)

    def _note(self, error: str) -> None:
        """Count an error of the conversation; the log has it once if it is always the same."""
        self._counters.count("complaints")
        if error != self._last_error:
            log.warning("%s: %s", self._path, error)
        self._last_error = error


def _after_fork_in_child() -> None:
    for monitor in list(_monitors):
        monitor._after_fork()  # noqa: SLF001 - same module
    util = sys.modules.get("multiprocessing.util")
    if util is not None:  # if this is a worker, it drops its parent's finalizers next, then calls:
        util.register_after_fork(_monitors, _end_with_worker)


def _end_with_worker(_monitors: object) -> None:
    """Have multiprocessing's forked worker hand over: it leaves by os._exit, without atexit."""
    sys.modules["multiprocessing.util"].Finalize(None, _at_exit, exitpriority=100)


def _at_exit() -> None:
    end = time.monotonic() + EXIT_SECONDS
    monitors = [monitor for monitor in _monitors if not monitor.closed]
    for monitor in monitors:  # all hand over at once: the time is one for all of them
        monitor._end()  # noqa: SLF001 - same module
    for monitor in monitors:
        try:
            monitor.close(max(0.0, end - time.monotonic()))
        except UnacknowledgedError as late:
            log.error("at exit: %s", late)


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
_process = sys.modules.get("multiprocessing.process")
if _process is not None and _process.parent_process() is not None:
    _end_with_worker(_monitors)  # this module was first imported in a worker
