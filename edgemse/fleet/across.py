"""What wide cells cannot show: where an answer is of more, less or coarser than was asked for.

A cell belongs to where its window starts. Below an hour nobody minds; but hours and days that
retention, or a device short of room, has made of narrower cells cannot be cut at a bound any more,
have no hour of the day, and are few windows to tell noise from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from edgemse import times
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.selection import COLUMNS, select
from edgemse.names import counted
from edgemse.stores.base import Reading
from edgemse.times import DAY_SECONDS, HOUR_SECONDS

__all__ = ["across", "coarsened"]

# Windows are aligned on their widths, of which these two are the wide ones (edgemse/cells.py).
ACROSS = (
    "SELECT count(*) FROM ({sql}) AS chosen"
    " WHERE window_start_seconds = ? - ? % window_width_seconds AND window_width_seconds >= ?"
)
ABSORBED = "SELECT 1 FROM absorbed WHERE absorber <> '' LIMIT 1"
WIDE = (
    "SELECT CAST(coalesce(sum(cell_count), 0) AS BIGINT) FROM ({sql}) AS chosen"
    " WHERE cell_width_seconds >= ?"
)
MOVED = (
    "SELECT count(*) FROM ({sql}) AS chosen WHERE window_width_seconds > ? AND EXISTS (SELECT 1"
    " FROM attributes AS a WHERE a.device = chosen.device AND a.name = ANY(?::TEXT[])"
    " AND a.since_seconds > window_start_seconds"
    " AND a.since_seconds < window_start_seconds + window_width_seconds)"
)


def across(reading: Reading, asked: Asked) -> Iterator[str]:
    """Yield for each bound, in words, how many cells of an hour or a day it cuts; none: nothing."""
    spans = {"since": (asked.since, "left out"), "until": (asked.until, "taken")}
    reference = asked.options.get("reference")
    if reference is not None:
        first, end = (math.ceil(times.instant(part)) for part in reference.split("/"))
        spans |= {"reference from": (first, "left out"), "reference to": (end, "taken")}
    for name, (bound, done) in spans.items():
        if not bound or not bound % DAY_SECONDS:
            continue
        near = replace(asked, since=bound - bound % DAY_SECONDS, until=bound)
        selection = select(reading, near, by=(), single=True)
        parameters = (*selection.parameters, bound, bound, HOUR_SECONDS)
        ((cells,),) = reading.rows(ACROSS.format(sql=selection.sql), parameters)
        if cells:
            yield (
                f"{name} {iso_time(bound)} lies within {counted(cells, 'cell')} of an hour or a"
                f" day, {done} whole: these cannot be cut; ask from hour to hour, or day to day"
            )


def coarsened(reading: Reading, asked: Asked) -> Iterator[str]:
    """Yield, in words, how many cells are too wide for what is asked.

    They have no hour of the day, hold two values of an attribute, or are what retention has made.
    """
    if "hour_of_day" in (*asked.by, *asked.where):
        where = {name: value for name, value in asked.where.items() if name != "hour_of_day"}
        wide = _wide(reading, replace(asked, where=where), HOUR_SECONDS + 1)
        if wide:
            cells = counted(wide, "cell")
            yield f"{cells} wider than an hour: of no hour_of_day, which is '' there"
    moved = _moved(reading, asked)
    if moved:
        yield (
            f"{counted(moved, 'cell')} of a day within which an attribute that was asked for"
            " changed: each counts whole for the value that held when the day began"
        )
    if not len(reading.rows(ABSORBED)):
        return
    wide = _wide(reading, asked, HOUR_SECONDS)
    if wide:
        yield (
            f"{counted(wide, 'cell')} of an hour or a day, into which retention puts narrower ones:"
            " counts and figures stay, but intervals, tests and numbers of windows know no"
            " narrower window there"
        )


def _moved(reading: Reading, asked: Asked) -> int:
    names = [name for name in (*asked.by, *asked.where) if name not in COLUMNS]
    if not names:
        return 0
    # Which value a cell has is what is in doubt: all values are looked at.
    columns = {name: value for name, value in asked.where.items() if name in COLUMNS}
    selection = select(reading, replace(asked, where=columns), by=(), single=True)
    parameters = (*selection.parameters, HOUR_SECONDS, names)
    ((cells,),) = reading.rows(MOVED.format(sql=selection.sql), parameters)
    return int(cells)


def _wide(reading: Reading, asked: Asked, width_seconds: int) -> int:
    selection = select(reading, asked, by=())
    rows = reading.rows(WIDE.format(sql=selection.sql), (*selection.parameters, width_seconds))
    ((cells,),) = rows
    return int(cells)
