"""Following the wall clock, and putting on the calendar, once, what was measured before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from edgemse.counters import Counters
from edgemse_agent.calendar import Calendar
from edgemse_agent.ledger import Ledger

__all__ = ["Placing"]

log = logging.getLogger(__name__)


class _Holder(Protocol):
    """Whatever holds windows or times in memory."""

    def place(self, place: Callable[[float], float]) -> None:
        """Put them where that leads to."""


class Placing:
    """Looks at the clock for an agent; `holders` are told where their times belong."""

    def __init__(
        self, calendar: Calendar, ledger: Ledger, counters: Counters, holders: Sequence[_Holder]
    ) -> None:
        self._calendar, self._ledger, self._counters = calendar, ledger, counters
        self._holders = [*holders]

    def tell(self, holder: _Holder) -> None:
        """Tell one more, from now on."""
        self._holders.append(holder)

    def begin(self) -> None:
        """Take the time, if it is known and nothing waits for that: it costs no transaction."""
        calendar, offset = self._calendar, self._calendar.look()
        waits = calendar.placed or calendar.waits or self._ledger.unplaced()
        if offset is not None and not waits:
            calendar.settle(offset, calendar.placements(offset))

    def look(self, *, writable: bool) -> bool:
        """Follow the wall clock while it may be trusted; True if somebody has set it.

        What has no place gets one when the time is known first, in one transaction of the ledger,
        if that is `writable` now. Raises LedgerError if it is not, having changed nothing.
        """
        calendar, offset = self._calendar, self._calendar.look()
        if offset is None:
            return False
        if calendar.placed:
            stepped = calendar.follow(offset)
            self._counters.count("clock_steps", int(stepped))
            return stepped
        if writable:
            self._place(offset)
        return False

    def _place(self, offset: float) -> None:
        calendar = self._calendar
        spans = calendar.placements(offset)
        cells, between = self._ledger.place(spans, calendar.at(offset))
        calendar.settle(offset, spans)
        for holder in self._holders:
            holder.place(calendar.place)
        self._counters.count("cells_placed", cells)
        self._counters.count("cells_placed_between", between)
        if cells:
            log.warning("the time is known: %d cells have their place on the calendar", cells)
