"""What is committed notes which hours of which series it touches, so that these are made anew.

An hour of which nothing is made yet notes only itself: whoever begins with it lists its series from
its cells. From then on each commit notes the series. The hour's row decides between the two: who
commits holds it shared, who moves it on holds it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edgemse.stores import rolled, statements
from edgemse.stores.base import Writing
from edgemse.stores.tables import DAYS, HOURS, TOUCHED, Row, Table
from edgemse.times import HOUR_SECONDS

__all__ = ["CLOSING", "DAY", "HOUR", "OPEN", "ROLLED", "Level", "touch"]

OPEN, CLOSING, ROLLED = "open", "closing", "rolled"
"""The stages of an hour or a day; see 0006_rollups.sql."""


class Level(NamedTuple):
    """Rows of one width, and the table of the periods that have some."""

    width_seconds: int
    periods: Table

    def start(self, second: int) -> int:
        """Return when the hour or day of that second begins."""
        return second - second % self.width_seconds


HOUR = Level(HOUR_SECONDS, HOURS)
DAY = Level(24 * HOUR_SECONDS, DAYS)


def touch(
    writing: Writing, level: Level, starts: Iterable[int], keys: Iterable[tuple[int, Row]]
) -> set[int]:
    """Note that these hours or days change; return those of which nothing is made yet.

    Args:
        writing: the transaction of the change, in which producers are locked before.
        level: HOUR or DAY.
        starts: when they begin.
        keys: start, and (device, series...), of everything that changes in them; read only where
            something is made of one of them already.
    """
    wanted = sorted({*starts})
    if not wanted:
        return set()
    writing.put(level.periods, [(start, OPEN) for start in wanted], statements.KEEP)
    writing.lock(level.periods, wanted, shared=True)
    stages: dict[int, str] = dict(writing.rows(rolled.stages(level.periods), (wanted,)))
    closed = {start for start, stage in stages.items() if stage != OPEN}
    if closed:
        noted = {(level.width_seconds, start, *key) for start, key in keys if start in closed}
        writing.put(TOUCHED, sorted(noted))
    return stages.keys() - closed
