"""What was refused, for a person to look at: bounded in rate and in size."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable

from edgemse.counters import Counters
from edgemse.logs import Ration
from edgemse.stores import Quarantined, Store, statements

__all__ = ["Quarantine", "trim"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

HEAD_BYTES = 4_096
"""So much of a refused message is kept: of most reports all, so that they can be taken again."""
BURST = 200
RATE_PER_SECOND = 20.0
"""Rows that may be written at once, and per second in the long run."""
DEVICE_SHARE = 4
"""One device may take a quarter of that, or its flood would hide the others' refusals."""
DEVICES_MAX = 1_000
"""Devices that are told apart; past that the allowance that was used longest ago is forgotten."""
REASON_CHARACTERS = 1_024
DEVICE_CHARACTERS = 256
ROWS_MAX = 10_000
ROWS_MAX_PER_DEVICE = 200
BYTES_MAX = 16 * 2**20
"""What `trim` leaves; until it comes again, the rate is the bound."""


class _Allowance:
    """So many rows at once, and so many a second in the long run."""

    def __init__(self, burst: float, rate_per_second: float, now: float) -> None:
        self._burst, self._rate = burst, rate_per_second
        self._allowed, self._then = burst, now

    def has(self, now: float) -> bool:
        """Tell whether there is one left."""
        earned = max(0.0, now - self._then) * self._rate
        self._allowed = min(self._burst, self._allowed + earned)
        self._then = now
        return self._allowed >= 1

    def use(self) -> None:
        """Take one."""
        self._allowed -= 1


class Quarantine:
    """Makes the rows of refused messages, at most so many in a time; the rest is counted."""

    def __init__(self, counters: Counters, now: Callable[[], float]) -> None:
        self._counters = counters
        self._now = now
        self._all = _Allowance(BURST, RATE_PER_SECOND, now())
        self._of_device: OrderedDict[str, _Allowance] = OrderedDict()

    def row(self, device: str, data: bytes, reason: str, kind: str) -> list[Quarantined]:
        """Return the row to write: one, or none if too many came lately."""
        now = self._now()
        device = device[:DEVICE_CHARACTERS].replace("\0", "\\0")
        own = self._own(device, now)
        if not own.has(now) or not self._all.has(now):
            self._counters.count("quarantine_unrecorded")
            return []
        own.use()
        self._all.use()
        reason = reason[:REASON_CHARACTERS].replace("\0", "\\0")
        log.warning("refused from device %r: %s", device, reason)
        head = data[:HEAD_BYTES]
        return [Quarantined(device, int(now * 1000), reason, len(data), head, kind)]

    def _own(self, device: str, now: float) -> _Allowance:
        own = self._of_device.pop(device, None)
        if own is None:
            own = _Allowance(BURST / DEVICE_SHARE, RATE_PER_SECOND / DEVICE_SHARE, now)
            if len(self._of_device) >= DEVICES_MAX:
                self._of_device.popitem(last=False)
        self._of_device[device] = own
        return own


def trim(store: Store) -> None:
    """Drop the oldest rows beyond the bounds, and count them in the store."""
    bounds = (ROWS_MAX, ROWS_MAX_PER_DEVICE, BYTES_MAX)
    with store.writing() as writing:
        dropped = writing.execute(statements.TRIM_QUARANTINE, bounds)
        if dropped:
            writing.execute(statements.COUNT_DROPPED, (dropped,))
