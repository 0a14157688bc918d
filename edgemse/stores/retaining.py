"""Old cells that go, and what takes their place: the transaction of retention (delivery rule 13).

Final cells only. Their names are written down in the transaction in which they go, so that one that
comes once more is acknowledged and not counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from edgemse.cells import Identity
from edgemse.stores import rolled, statements
from edgemse.stores.base import Selection, Writing
from edgemse.stores.tables import ABSORBED, CELLS, DEPENDENCE, PRODUCERS, RETAINED, SERIES, Row
from edgemse.stores.touching import DAY, HOUR, touch

__all__ = ["Going", "due", "going", "replace", "to_absorb", "windows_of"]

_HEAD = ", ".join(SERIES.key)


class Going(NamedTuple):
    """A cell that is to go."""

    identity: Identity
    revision: int
    start: int
    series: Row
    """Device, then the series."""


def due(width: int, cut: int) -> tuple[str, tuple[object, ...]]:
    """Return the SELECT of periods, devices and how many of their cells are to go.

    Width 0: whatever ended by `cut` goes for good; else cells narrower than that, which an hour or
    a day takes up. A day does not where an attribute of the device changed within it.
    """
    period = f"c.window_start_seconds - c.window_start_seconds % {width or DAY.width_seconds}"
    return (
        f"SELECT {period} AS period, c.device, count(*) FROM cells AS c WHERE {_old(width, cut)}"
        " GROUP BY 1, 2 ORDER BY 1, 2",
        (),
    )


def _old(width: int, cut: int) -> str:
    if not width:
        return f"c.final AND c.window_start_seconds + c.window_width_seconds <= {int(cut)}"
    narrow = f"c.final AND c.window_width_seconds < {int(width)}"
    whole = f"{narrow} AND c.window_start_seconds < {int(cut)}"
    if width < DAY.width_seconds:
        return whole
    start = f"(c.window_start_seconds - c.window_start_seconds % {int(width)})"
    return (
        f"{whole} AND NOT EXISTS (SELECT 1 FROM attributes AS a WHERE a.device = c.device"
        f" AND a.since_seconds > {start} AND a.since_seconds < {start} + {int(width)})"
    )


def going(width: int, cut: int, period: int, devices: Sequence[str]) -> Selection:
    """Return the SELECT of the cells of some devices in a period that are to go, as `Going`."""
    end = period + (width or DAY.width_seconds)
    return Selection(
        f"SELECT producer, sequence, revision, window_start_seconds, {_HEAD} FROM cells AS c"
        f" WHERE {_old(width, cut)} AND c.window_start_seconds >= {int(period)}"
        f" AND c.window_start_seconds < {int(end)} AND c.device = ANY(?::TEXT[])"
        " ORDER BY producer, sequence",
        ([*devices],),
        0,
    )


def to_absorb(width: int, cut: int, period: int, devices: Sequence[str]) -> Selection:
    """Return the same cells to be merged: group columns are series, period and its width."""
    keys = [*(f"c.{name}" for name in SERIES.key), f"CAST({int(period)} AS BIGINT)"]
    groups = ", ".join(f"{key} AS g{place}" for place, key in enumerate(keys, 1))
    sql = (
        f"SELECT {groups}, CAST({int(width)} AS BIGINT) AS g{len(keys) + 1}, c.*"
        f" FROM ({rolled.AS_ROLLUPS} AS c WHERE {_old(width, cut)}"
        f" AND c.window_start_seconds >= {int(period)}"
        f" AND c.window_start_seconds < {int(period + width)} AND c.device = ANY(?::TEXT[])) AS c"
    )
    return Selection(sql, ([*devices],), len(keys) + 1)


def windows_of(width: int, cut: int, period: int, devices: Sequence[str]) -> Selection:
    """Return the SELECT of the same cells' windows: series, start, weight and weighted squares."""
    chosen = going(width, cut, period, devices)
    where = chosen.sql.partition(" WHERE ")[2].partition(" ORDER BY ")[0]
    squares = "m2 + weight * (mean + mean_lo) * (mean + mean_lo)"
    return chosen._replace(
        sql=f"SELECT {_HEAD}, window_start_seconds, sum(weight), sum({squares}) FROM cells AS c"
        f" WHERE {where} AND c.count > 0 GROUP BY {_HEAD}, window_start_seconds"
        f" ORDER BY {_HEAD}, window_start_seconds"
    )


def replace(
    writing: Writing,
    gone: Sequence[Going],
    cells: Iterable[Row],
    dependence: Iterable[Row],
    absorber: str,
    now_ms: int,
) -> bool:
    """Let cells go and put others in their place; False, to be undone, if one is not as it was.

    Args:
        writing: the transaction.
        gone: what goes.
        cells: rows of CELLS that hold what the others held; none: it is dropped.
        dependence: rows of DEPENDENCE, of what these no longer show.
        absorber: the store's id; '' where it is dropped.
        now_ms: the time.
    """
    writing.lock(PRODUCERS, sorted({each.identity.producer for each in gone}))
    keys = [(HOUR.start(each.start), each.series) for each in gone]
    starts = [each.start for each in gone]
    days = {DAY.start(start) for start in starts}
    touch(writing, HOUR, [*(hour for hour, _ in keys), *days], keys + _days(keys))
    columns = (
        [each.identity.producer for each in gone],
        [each.identity.sequence for each in gone],
        [each.revision for each in gone],
        [each.series[0] for each in gone],
    )
    dropped = writing.execute(statements.DROP_NAMED, (min(starts), max(starts), *columns))
    if dropped != len(gone):
        return False
    names = sorted(each.identity for each in gone)
    held = writing.rows(statements.RANGES, ([*{name.producer for name in names}], absorber)).rows
    writing.put(ABSORBED, _ranges(names, held, absorber), statements.JOIN_RANGES)
    writing.put(CELLS, cells)
    writing.execute(statements.DROP_DEPENDENCE, columns[:2])
    writing.put(DEPENDENCE, dependence)
    writing.put(RETAINED, [(day, now_ms) for day in sorted(days)], statements.REPLACE_RETAINED)
    writing.execute(statements.COUNT_RETAINED[bool(absorber)], (len(gone),))
    return True


def _days(keys: Sequence[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """Return where the cell of a day starts that may come into the place of an hour's."""
    return [(DAY.start(hour), series) for hour, series in keys]


def _ranges(names: Sequence[Identity], held: Sequence[Row], absorber: str) -> Iterator[Row]:
    """Yield the ranges of names, each as the end of the one that is held before it, if there is."""
    ends = {(producer, last): first for producer, first, last in held}
    found: dict[tuple[bytes, int], int] = {}
    begun: tuple[bytes, int] | None = None
    before: Identity | None = None
    for name in names:
        if before != (name.producer, name.sequence - 1) or begun is None:
            first = ends.get((name.producer, name.sequence - 1), name.sequence)
            begun = (name.producer, first)  # type: ignore[assignment]
        assert begun is not None
        found[begun] = name.sequence
        before = name
    for (producer, first_sequence), last in found.items():
        yield (producer, first_sequence, last, absorber)
