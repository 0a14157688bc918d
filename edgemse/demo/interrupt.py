"""Ctrl-C and its kin, heard only where the demo waits, so that none comes between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "Interrupts"]

HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The user, or the system, wants the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
        """What a shell reports of a process that the signal ended."""


class Interrupts:
    """Takes signals while the block runs; `wait` raises Interrupted once one came.

    Handlers that raise by themselves could do so between the start of a process and the line that
    takes note of it.
    """

    def __init__(self) -> None:
        self._came = threading.Event()
        self._number = 0
        self._before: dict[signal.Signals, Any] = {}

    def wait(self, seconds: float) -> None:
        """Wait so long, or raise Interrupted if a signal came before or comes meanwhile."""
        if self._came.wait(seconds):
            raise Interrupted(self._number)

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._heard) for number in HEARD}
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        self._number = number
        self._came.set()
