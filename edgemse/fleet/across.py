"""Wide cells that lie across a bound of a question: where an answer is of more or less than asked.

A cell belongs to where its window starts. Below an hour nobody minds; but hours and days that
retention, or a device short of room, has made of narrower cells cannot be cut at a bound any more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from edgemse import times
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.selection import select
from edgemse.names import counted
from edgemse.stores.base import Reading
from edgemse.times import DAY_SECONDS, HOUR_SECONDS

__all__ = ["across"]

# Windows are aligned on their widths, of which these two are the wide ones (edgemse/cells.py).
ACROSS = (
    "SELECT count(*) FROM ({sql}) AS chosen"
    " WHERE window_start_seconds = ? - ? % window_width_seconds AND window_width_seconds >= ?"
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
