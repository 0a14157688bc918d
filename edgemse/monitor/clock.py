"""The time of a Monitor: the device's, as its agent says it.

The kernel may not know the time yet, and only the agent knows whether it does. So what a Monitor
counts before the agent has spoken stands beside the calendar, UNPLACED_SECONDS behind the wall
clock's time: from there it goes to exactly that time, or to where the agent counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from edgemse.cells import UNPLACED_SECONDS

__all__ = ["ANSWER_SECONDS", "DeviceClock", "boot_seconds"]

WALL_OFF_SECONDS = 1.0
"""While the wall clock is within that of what the agent says, it is read, which is cheapest."""
ANSWER_SECONDS = 0.5
"""How long the agent may take to say the time; after that the wall clock is taken."""


def boot_seconds() -> float:
    """Return the seconds since the device's boot; on Linux those that it slept are in them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class DeviceClock:
    """`offset` leads from the boot's clock to the time, in seconds; `told` once the agent said it.

    >>> clock = DeviceClock(wall=lambda: 1_767_225_600.0, boot=lambda: 100.0)
    >>> clock.now() >= UNPLACED_SECONDS, clock.told
    (True, False)
    >>> place = clock.follow(1_767_225_500.25)
    >>> clock.now(), place(UNPLACED_SECONDS + 1_767_225_599.0)
    (1767225600.25, 1767225599.0)
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, boot: Callable[[], float] = boot_seconds
    ) -> None:
        self._wall, self.boot = wall, boot
        self.offset = UNPLACED_SECONDS + self.wall_offset()
        self.told = False

    def wall_offset(self) -> float:
        """Return what leads from the boot's clock to the wall clock's time."""
        return self._wall() - self.boot()

    def now(self) -> float:
        """Return the time; behind UNPLACED_SECONDS while nobody knows it."""
        return self.boot() + self.offset

    def heard(self, reply: Mapping[str, Any]) -> float | None:
        """Return the offset that an agent's reply says, None if it says none.

        One that greets without a word of the time leaves its Monitors the wall clock.
        """
        if "offset_seconds" in reply:
            return float(reply["offset_seconds"])
        return self.wall_offset() if "ledger" in reply and not self.told else None

    def follow(self, offset: float) -> Callable[[float], float]:
        """Go on by this offset, and return what takes a time without a place to where it belongs.

        Where the agent's time is the wall clock's, that is exact, and no window is another one.
        """
        moved, exactly = offset - self.offset, -float(UNPLACED_SECONDS)
        if not self.told and abs(moved - exactly) <= WALL_OFF_SECONDS:
            moved = exactly
        self.offset, self.told = offset, True
        return lambda seconds: seconds + moved if seconds >= UNPLACED_SECONDS else seconds

    def reader(self) -> Callable[[], float]:
        """Return what reads the time best: the wall clock, if it is right."""
        off = self._wall() - self.now()
        return self._wall if self.told and abs(off) <= WALL_OFF_SECONDS else self.now
