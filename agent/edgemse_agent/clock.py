"""Time, passed in so that tests can bend it."""

from __future__ import annotations

import ctypes
import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]

TIME_ERROR = 5
"""What adjtimex(2) returns while nobody has synchronised the clock."""
TIMEX_BYTES = 256
"""More than any struct timex takes; modes = 0 in its first word makes the call read only."""


class Clock(Protocol):
    """What the agent asks of time."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC, as well as the device knows."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def synchronised(self) -> bool:
        """Whether the kernel says that the wall clock is synchronised."""


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._adjtimex = getattr(libc, "adjtimex", None)

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back; on Linux they stand still while the device sleeps."""
        return time.monotonic()

    def synchronised(self) -> bool:
        """Ask adjtimex(2); where there is none (not Linux) or it is forbidden, say no."""
        if self._adjtimex is None:
            return False
        state: int = self._adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
        return 0 <= state < TIME_ERROR
