"""Hours from cells, days from hours, anew wherever something has changed; ended and begun anywhere.

What is to be done stands in the store (edgemse.stores.touching). Each step reads one moment, merges
there, and then writes in one transaction in which what it has read as to be done must be so still:
two who do the same work get in each other's way, and nothing else happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgemse.fleet.merging import MOST, merge_sql, moments_of, without
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stores import Reading, Selection, Store, rolled
from edgemse.stores.arrow import Columns
from edgemse.stores.tables import COVERAGE_COLUMNS, ROLLUPS, Row
from edgemse.stores.touching import CLOSING, DAY, HOUR, OPEN, ROLLED, Level, touch

__all__ = ["SETTLE_SECONDS", "Backlog", "Rolled", "backlog", "merged_rows", "roll_up"]

SETTLE_SECONDS = 600
"""An hour is begun with when it has been over for so long: its last cells come within two minutes,
and while they do it would be made anew each time."""
KEYS_MAX = 5_000
"""Series of a device and hour in one transaction: a tenth of a second, for which commits wait."""
PERIODS_MAX = 24
"""Hours whose series are listed in one transaction."""
EMPTY = ResidualHistogram().to_bytes()


@dataclass(slots=True)
class Rolled:
    """What was done."""

    rows: int = 0
    """That were made, or made anew."""
    periods: int = 0
    """Hours and days that were begun with."""
    overtaken: int = 0
    """Steps that somebody else has done meanwhile."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is yet to be done, and what is there."""

    hours: int
    """That are over and not rolled up as they are."""
    oldest: int | None
    """When the first of them begins, seconds since 1970-01-01 UTC."""
    touched: int
    """Notes of a series and an hour or a day."""
    rows: int
    """Of hours and days."""

    def lag_seconds(self, now: float) -> float:
        """Return how long the oldest of the hours has been over."""
        return 0.0 if self.oldest is None else max(0.0, now - self.oldest - HOUR.width_seconds)


class _OvertakenError(Exception):
    """Somebody else has done the step."""


def backlog(reading: Reading, now: float) -> Backlog:
    """Return what is yet to be rolled up."""
    ((hours, oldest, touched, rows),) = reading.rows(rolled.BACKLOG, (_latest(HOUR, now),))
    return Backlog(hours, oldest, touched, rows)


def roll_up(
    store: Store,
    now: float,
    ended: Callable[[], bool] = lambda: False,
    told: Callable[[Rolled], None] = lambda _: None,
) -> Rolled:
    """Roll up what has changed and what is over, oldest notes first, until nothing is left to do.

    Args:
        store: where.
        now: UTC seconds.
        ended: asked before each step whether that is enough for now.
        told: called after each step with what was done so far.

    Raises StoreError; every step before is done.
    """
    done = Rolled()
    for level in (HOUR, DAY):
        while not ended():
            before = done.overtaken
            try:
                if not _step(store, level, now, done):
                    break
            except _OvertakenError:
                done.overtaken += 1
                if before > KEYS_MAX:
                    break
            told(done)
    return done


def _step(store: Store, level: Level, now: float, done: Rolled) -> bool:
    return _merge(store, level, done) or _begin(store, level, now, done)


def _latest(level: Level, now: float) -> int:
    """Return the latest start of an hour or day that is over."""
    return int(now) - SETTLE_SECONDS - level.width_seconds


def _begin(store: Store, level: Level, now: float, done: Rolled) -> bool:
    """Begin with the oldest hours or days of which nothing is made; False if there are none."""
    latest, width = _latest(level, now), level.width_seconds
    oldest = rolled.in_stage(level.periods, width)
    with store.reading() as reading:
        starts = [s for (s,) in reading.rows(oldest, (OPEN, latest, PERIODS_MAX))]
        starts += [s for (s,) in reading.rows(oldest, (CLOSING, latest, PERIODS_MAX))]
    if not starts:
        return False
    with store.writing() as writing:
        writing.lock(level.periods, sorted(starts))  # those who commit cells of them come before
        writing.execute(rolled.move_on(level.periods), (CLOSING, OPEN, starts))
    with store.writing() as writing:
        writing.lock(level.periods, sorted(starts))
        stages: dict[int, str] = dict(writing.rows(rolled.stages(level.periods), (starts,)))
        mine = sorted(start for start, stage in stages.items() if stage == CLOSING)
        if mine:
            span = (mine[0], mine[-1] + width)
            spans = span if level is HOUR else span * 2
            writing.execute(rolled.list_series(width), (*spans, mine))
            writing.execute(rolled.move_on(level.periods), (ROLLED, CLOSING, mine))
    done.periods += len(mine)
    return True


def _merge(store: Store, level: Level, done: Rolled) -> bool:
    """Make the rows of some series and hours, or days; False if none is to be made."""
    width = level.width_seconds
    with store.reading() as reading:
        picked = reading.rows(rolled.picked(width), (KEYS_MAX,)).rows
        if not picked:
            return False
        ids = [row[0] for row in picked]
        starts = [row[1] for row in picked]
        chosen = rolled.to_merge(width, min(starts), max(starts) + width, ids[-1])
        rows = [*merged_rows(reading, chosen, width)]
    made = Columns(ROLLUPS.columns, rows)
    with store.writing() as writing:
        # Held, so that who forgets or renames a device, or does the same work, comes before, or
        # after.
        if writing.execute(rolled.HOLD_TOUCHED, (ids,)) < len(ids):
            raise _OvertakenError
        writing.execute(rolled.DROP_ROLLED, (width, min(starts), max(starts), ids))
        writing.put(ROLLUPS, made)
        if level is HOUR:
            keys = [(DAY.start(start), tuple(key)) for _, start, *key in picked]
            touch(writing, DAY, [start for start, _ in keys], keys)
        writing.execute(rolled.DROP_TOUCHED, (ids,))
    done.rows += len(rows)
    return True


def merged_rows(reading: Reading, chosen: Selection, width: int) -> Iterator[Row]:
    """Yield a row of ROLLUPS for each group of a selection: device, series, start, cells' width."""
    keys = ", ".join(f"g{place}" for place in range(1, chosen.keys + 1))
    counted = (
        f"SELECT {keys}, CAST(sum(cell_count) AS BIGINT), min(first_start_seconds),"  # noqa: S608
        f" max(last_start_seconds) FROM ({chosen.sql}) AS chosen GROUP BY {keys}"
    )
    extents = {row[:-3]: row[-3:] for row in reading.rows(counted, chosen.parameters)}
    found = reading.rows(*merge_sql(chosen))
    named = {row[: chosen.keys]: dict(zip(found.names, row, strict=True)) for row in found}
    # What cannot be counted no question counts: such a row is left out wherever it is merged.
    beyond = [key for key, row in named.items() if any(row[n] > most for n, most in MOST.items())]
    rest = without(chosen, beyond)
    errors = reading.histograms(rest)
    lags = reading.histograms(rest, "lag_histogram")
    for key, row in named.items():
        *series, start, cells_width = key
        error = errors.get(key)
        lag = lags.get(key)
        yield (
            *series,
            start,
            width,
            *extents[key],
            cells_width,
            *moments_of(row),
            None if error is None else error.to_bytes(),
            *(row[name] for name in [*COVERAGE_COLUMNS][:-1]),
            EMPTY if lag is None else lag.to_bytes(),
        )
