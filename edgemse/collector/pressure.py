"""How long an ack takes at present, and what devices are told of it while that is long."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

__all__ = ["Pressure"]

QUIET_SECONDS = 2.0
"""Up to this age of the oldest message nothing is said: devices wait five seconds as it is."""
HEADROOM = 2.0
"""What is told is so many times the age that was seen, because it is growing."""
STEPS_SECONDS = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""What is told is one of these: every change is a message to every device."""
RAISE_SECONDS, LOWER_SECONDS = 5.0, 60.0
"""So long after a change the next one may come, up and down."""


class Pressure:
    """Chooses what devices are told, from the age of the oldest message without an ack.

    `now` returns monotonic seconds. Thread safety: every method may be called from any thread.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.told_seconds = 0.0
        """How long an ack takes, as devices were told last; 0: no longer than usual."""
        self._changed = float("-inf")
        self._lock = Lock()

    def changes(self, age_seconds: float) -> bool:
        """Tell whether devices are to be told something else, which `told_seconds` then is."""
        now = self._now()
        with self._lock:
            wanted = _wanted(age_seconds)
            pause = RAISE_SECONDS if wanted > self.told_seconds else LOWER_SECONDS
            if wanted == self.told_seconds or now - self._changed < pause:
                return False
            self.told_seconds, self._changed = wanted, now
            return True


def _wanted(age_seconds: float) -> float:
    if age_seconds <= QUIET_SECONDS:
        return 0.0
    enough = (step for step in STEPS_SECONDS if step >= HEADROOM * age_seconds)
    return next(enough, STEPS_SECONDS[-1])
