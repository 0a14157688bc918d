"""Room in the ledger: what a device gives up while it cannot deliver, resolution and never samples.

Windows first (to hours, then to days); where days alone are too many, segments fold into one
overflow segment, then whatever is left into one series. Only cells that were never exposed are
merged. What is exposed is bounded by the in-flight window and what is parked by its own setting, so
neither is a reason to refuse a sample.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from edgemse.cells import OVERFLOW, Series
from edgemse.counters import Counters
from edgemse.growing import WIDER_SECONDS, Growing, coarsened
from edgemse_agent.ledger import Ledger, Written

__all__ = ["FULL_TIMES", "Room"]

log = logging.getLogger(__name__)

FULL_TIMES = 4
"""At so many times ledger_cells_max own cells that cannot be merged any further (days all over the
calendar) no window is opened any more: a client whose times lie anywhere must not fill the disk."""


class _Level(NamedTuple):
    """A resolution: how wide windows are, and which series are one."""

    width_seconds: int
    fold: Callable[[Series], Series] | None = None


def _without_segment(series: Series) -> Series:
    return series._replace(segment=OVERFLOW)


def _without_names(series: Series) -> Series:
    return Series(OVERFLOW, segment=OVERFLOW, measure=series.measure)


WIDER = [_Level(width) for width in WIDER_SECONDS]
FOLDED = [_Level(WIDER_SECONDS[-1], fold) for fold in (_without_segment, _without_names)]


class Room:
    """Keeps the cells that wait in the ledger near a bound of `cells_max`."""

    def __init__(
        self, ledger: Ledger, growing: Growing, counters: Counters, cells_max: int
    ) -> None:
        self._ledger, self._growing, self._counters = ledger, growing, counters
        self.cells_max = cells_max
        self._left = 0
        """How many cells the last attempt left, where that was more than the bound."""

    def look(self) -> None:
        """Open windows again once there is room."""
        if self._growing.full and self._ledger.own < FULL_TIMES * self.cells_max:
            self._growing.full = False

    def let_go_parked(self, keep: int) -> None:
        """Forget the parked cells of the oldest windows past so many."""
        if self._ledger.parked_now <= keep:
            return
        gone = self._ledger.let_go_parked(keep)
        self._counters.count("parked_let_go", gone)
        log.warning(
            "%d cells that the collector refused are forgotten: more than parked_cells_max", gone
        )

    def make(self, wanted: int) -> None:
        """Merge the oldest cells into wider windows while more than `wanted` wait.

        Where that does not help (exposed cells, windows all over time), not again until there are
        a few more. Raises LedgerError, having changed nothing that is not whole.
        """
        bound, ledger = min(wanted, self.cells_max), self._ledger
        if ledger.waiting > max(bound, self._left + bound // 50):
            for level in WIDER:
                self._merge(level, bound)
            self._left = ledger.waiting if ledger.waiting > bound else 0
        full = FULL_TIMES * self.cells_max
        if ledger.own >= full and ledger.fresh()[1] >= full:  # what is open may be merged next
            self._growing.close_ended(0.0, everything=True)
        for level in FOLDED:
            if ledger.own >= full and ledger.fresh()[0] >= full:
                self._merge(level, self.cells_max)
        self._growing.full = ledger.own >= full and ledger.fresh()[0] >= full

    def _merge(self, level: _Level, bound: int) -> None:
        surplus = self._ledger.waiting - bound
        if surplus <= 0:
            return
        narrower = level.width_seconds + int(level.fold is not None)
        cells = self._ledger.coarsenable(narrower, max(2 * surplus, bound // 2))
        identity = self._growing.next_identity
        merged = coarsened(cells, level.width_seconds, identity, fold=level.fold)
        gone = [identity for each in merged for identity in each.absorbed]
        if gone:
            self._ledger.commit([Written(each.cell) for each in merged], absorbed=gone)
            self._counters.count("cells_coarsened", len(gone))
            self._counters.count("cells_folded", len(gone) if level.fold else 0)
