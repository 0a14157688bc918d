"""A clock that goes where the test wants it."""

from __future__ import annotations


class FakeClock:
    """Wall time 2026-01-01 plus what has passed; synchronised unless told otherwise."""

    def __init__(self, start: float = 1_767_225_600.0) -> None:
        self._start = start
        self.passed = 0.0
        self.is_synchronised = True
        self.boot_id = "boot 1"
        self.slept = 0.0
        """Seconds of sleep, in which the monotonic clock stood still."""

    def wall(self) -> float:
        return self._start + self.passed

    def monotonic(self) -> float:
        return 1_000.0 + self.passed

    def boot(self) -> float:
        return self.monotonic() + self.slept

    def synchronised(self) -> bool:
        return self.is_synchronised

    def trusted(self, _passed: float) -> bool:
        return self.is_synchronised
