"""The collector's jobs over rollups, and what they count."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from edgemse.counters import Counters, counter, gauge
from edgemse.rollups.retention import retain
from edgemse.rollups.rolling import Rolled, backlog, roll_up
from edgemse.stores import Store, statements
from edgemse.stores.keep import Keep

__all__ = ["EVERY_SECONDS", "MEANINGS", "RETENTION_SECONDS", "Rolling"]

EVERY_SECONDS = 60.0
"""A late label is in its hour's row a minute later; until then it is read from cells."""
RETENTION_SECONDS = 300.0
BUSY_SECONDS = 20.0
"""A run begins no further step after that: other jobs wait, and each begins again soon."""
FOR_EVER = Keep()
STEPS = "rollup_steps_overtaken"

MEANINGS = {
    "rollup_rows": gauge("Rows of hours and days that the store holds"),
    "rollup_rows_made": counter("Rows of hours and days made, or made anew, by this collector"),
    "rollup_steps_overtaken": counter("Steps that another had done meanwhile; nothing was changed"),
    "rollup_dirty_hours": gauge("Hours that are over and not rolled up as they are"),
    "rollup_lag_seconds": gauge("How long the oldest of those hours has been over"),
    "cells_absorbed": counter("Cells that retention has put into hours or days, since ever"),
    "cells_dropped": counter("Cells that retention has dropped for good, since ever"),
    "retention_steps_overtaken": counter(
        "Steps that were left for the next time because a cell changed meanwhile"
    ),
}
"""Each number and what it says; docs/rollups.md lists the same."""


class Rolling:
    """Rolls up what has changed, lets go what is old, and says how far behind it is.

    Thread safety: `run` and `retain` in one thread; `counters` are read by any.
    """

    def __init__(
        self,
        store: Store,
        keep: Keep = FOR_EVER,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = Counters(MEANINGS)
        self._store = store
        self._keep = keep
        self._now = now
        self._monotonic = monotonic

    def run(self, stopping: Event) -> None:
        """Do what is to be done, for some seconds, or until `stopping`."""
        self._look()
        rows, overtaken = self.counters["rollup_rows_made"], self.counters[STEPS]

        def tell(done: Rolled) -> None:
            self.counters.follow("rollup_rows_made", rows + done.rows)
            self.counters.follow(STEPS, overtaken + done.overtaken)

        roll_up(self._store, self._now(), self._ended(stopping), tell)
        self._look()

    def retain(self, stopping: Event) -> None:
        """Let go what is older than it is kept, for some seconds, or until `stopping`."""
        ended = self._ended(stopping)
        done = retain(self._store, self._keep, self._now(), ended)
        self.counters.count("retention_steps_overtaken", done.overtaken)
        self._look()

    def _ended(self, stopping: Event) -> Callable[[], bool]:
        until = self._monotonic() + BUSY_SECONDS
        return lambda: stopping.is_set() or self._monotonic() >= until

    def _look(self) -> None:
        now = self._now()
        with self._store.reading() as reading:
            found = backlog(reading, now)
            retained = reading.rows(statements.RETAINED_SO_FAR).rows
        self.counters.set("rollup_dirty_hours", found.hours)
        self.counters.set("rollup_lag_seconds", int(found.lag_seconds(now)))
        self.counters.set("rollup_rows", found.rows)
        for name, cells in retained:
            self.counters.follow(name, cells)
