"""Time, passed in so that tests can bend it."""

from __future__ import annotations

import ctypes
import secrets
import time
from pathlib import Path
from typing import Protocol

__all__ = ["TRUSTS", "Clock", "SystemClock"]

TIME_ERROR = 5
"""What adjtimex(2) returns while nobody has synchronised the clock."""
TIMEX_BYTES = 256
"""More than any struct timex takes; modes = 0 in its first word makes the call read only."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DEVICE_TREE = Path("/proc/device-tree")
"""There on boards such as a Raspberry Pi, which have no battery clock; not on PCs and servers."""
WRITTEN_SECONDS = 1_735_689_600.0
"""2025-01-01: before edgemse was written no clock is right that nobody has synchronised."""
TRUSTS = ("auto", "kernel", "wall")


class Clock(Protocol):
    """What the agent asks of time."""

    @property
    def boot_id(self) -> str:
        """What names this boot of the device."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC, as well as the device knows."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def boot(self) -> float:
        """Seconds since the device's boot, those that it slept included."""

    def synchronised(self) -> bool:
        """Whether the kernel says that the wall clock is synchronised."""

    def trusted(self, passed: float) -> bool:
        """Whether the wall clock may be taken, where that time has surely passed."""


class SystemClock:
    """The machine's own clocks.

    `trust` says whose word makes the wall clock good: the "kernel"'s (it is synchronised), nobody's
    ("wall": it is taken as it is), or "auto": the kernel's on a board with a device tree, elsewhere
    nobody's, unless it shows a time that has surely passed.
    """

    def __init__(self, trust: str = "auto") -> None:
        assert trust in TRUSTS, trust
        libc = ctypes.CDLL(None, use_errno=True)
        self._adjtimex = getattr(libc, "adjtimex", None)
        self.trust = trust
        if trust == "auto" and DEVICE_TREE.exists():
            self.trust = "kernel"
        try:
            self._boot_id = BOOT_ID.read_text().strip()
        except OSError:  # not Linux: each run is a boot of its own
            self._boot_id = secrets.token_hex(16)
        self._boot_clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    @property
    def boot_id(self) -> str:
        """The kernel's name of this boot; where it has none, one of this process."""
        return self._boot_id

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back; on Linux they stand still while the device sleeps."""
        return time.monotonic()

    def boot(self) -> float:
        """Seconds since the boot; on Linux those that the device slept are in them."""
        return time.clock_gettime(self._boot_clock)

    def synchronised(self) -> bool:
        """Ask adjtimex(2); where there is none (not Linux) or it is forbidden, say no."""
        if self._adjtimex is None:
            return False
        state: int = self._adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
        return 0 <= state < TIME_ERROR

    def trusted(self, passed: float) -> bool:
        """Tell whether the wall clock may be taken, where that time has surely passed."""
        if self.trust == "wall" or self.synchronised():
            return True
        return self.trust == "auto" and self.wall() >= max(passed, WRITTEN_SECONDS)
