"""What was refused, for a person to look at: bounded in rate and in size."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edgemse.counters import Counters
from edgemse.logs import Ration
from edgemse.stores import Quarantined, Store, statements

__all__ = ["Quarantine", "trim"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

HEAD_BYTES = 1_024
"""So much of a refused message is kept."""
BURST = 200
RATE_PER_SECOND = 20.0
"""Rows that may be written at once, and per second in the long run."""
REASON_CHARACTERS = 1_024
DEVICE_CHARACTERS = 256
ROWS_MAX = 10_000
ROWS_MAX_PER_DEVICE = 200
BYTES_MAX = 16 * 2**20
"""What `trim` leaves; until it comes again, the rate is the bound."""


class Quarantine:
    """Makes the rows of refused messages, at most so many in a time; the rest is counted."""

    def __init__(self, counters: Counters, now: Callable[[], float]) -> None:
        self._counters = counters
        self._now = now
        self._allowed = float(BURST)
        self._then = now()

    def row(self, device: str, data: bytes, reason: str) -> list[Quarantined]:
        """Return the row to write: one, or none if too many came lately."""
        now = self._now()
        earned = max(0.0, now - self._then) * RATE_PER_SECOND
        self._allowed = min(float(BURST), self._allowed + earned)
        self._then = now
        if self._allowed < 1:
            self._counters.count("quarantine_unrecorded")
            return []
        self._allowed -= 1
        reason = reason[:REASON_CHARACTERS].replace("\0", "\\0")
        device = device[:DEVICE_CHARACTERS].replace("\0", "\\0")
        log.warning("refused from device %r: %s", device, reason)
        return [Quarantined(device, int(now * 1000), reason, len(data), data[:HEAD_BYTES])]


def trim(store: Store) -> None:
    """Drop the oldest rows beyond the bounds, and count them in the store."""
    bounds = (ROWS_MAX, ROWS_MAX_PER_DEVICE, BYTES_MAX)
    with store.writing() as writing:
        dropped = writing.execute(statements.TRIM_QUARANTINE, bounds)
        if dropped:
            writing.execute(statements.COUNT_DROPPED, (dropped,))
