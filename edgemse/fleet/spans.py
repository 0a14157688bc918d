"""Now and then: which spans of a model's cells a diagnosis compares."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgemse import times
from edgemse.errors import UsageError
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.merging import merged
from edgemse.fleet.questions import find
from edgemse.fleet.selection import select
from edgemse.fleet.trend import TrendAnswer
from edgemse.stores.base import Reading

__all__ = ["Spans", "spans_of"]

ENDS = (
    "SELECT min(first_start_seconds), max(last_start_seconds + cell_width_seconds)"
    " FROM ({}) AS chosen"
)
HOUR_SECONDS = 3_600
NOW_SECONDS = 2 * 86_400
"""Two days, so that drift can tell a daily cycle from a change."""
TIMES_AS_LONG = 7
"""Then is two weeks where now is two days."""
RATIO_MIN = 1.05
"""A last change of the trend by less is not where trouble began."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Seconds since 1970-01-01 UTC; `then` is None where no cell is before now."""

    since: int
    until: int
    then: tuple[int, int] | None
    began: str
    """Why now begins there: "asked", "change" or "recent"."""

    @property
    def reference(self) -> str | None:
        """The span of then as START/END."""
        return None if self.then is None else "/".join(map(iso_time, self.then))


def spans_of(reading: Reading, asked: Asked) -> Spans | None:
    """Return now and then; None: there is no cell.

    Now ends with the last window, less the time that 95 % of labels take to come, so that what is
    only usual does not look late. It begins where the trend last went up, or else is the latest
    two days, or a quarter of what there is; then is seven times as long before it.
    """
    whole = replace(asked, since=None)
    selection = select(reading, whole, by=())
    ((first, end),) = reading.rows(ENDS.format(selection.sql), selection.parameters)
    if first is None:
        return None
    reference = asked.options["reference"]
    then = None
    if reference is not None:
        start, stop = (int(times.instant(part)) for part in reference.split("/"))
        then = (start, stop)
    since, began = asked.since, "asked"
    if since is None and then is not None:
        since = then[1]
    until = asked.until if asked.until is not None else _labelled_until(reading, whole, first, end)
    if since is None:
        since, began = _began(reading, replace(whole, until=until), first, until)
    if until <= since:
        until = since + HOUR_SECONDS  # nothing is there, and that will be said
    if then is not None and then[1] > since:
        raise UsageError(
            f"reference: it ends at {iso_time(then[1])}, now begins at {iso_time(since)}; wanted"
            " spans that do not overlap"
        )
    if then is None and first < since:
        then = (max(first, since - TIMES_AS_LONG * (until - since)), since)
    return Spans(since, until, then, began)


def _labelled_until(reading: Reading, asked: Asked, first: int, end: int) -> int:
    """Return the end of what has had time to be labelled; the end where that is under half."""
    from edgemse.fleet.windows import usual_step

    (found,) = merged(reading, asked, by=(), histograms=False, lag_histograms=True) or [None]
    if found is None or not found.coverage.matched:
        return end
    step = usual_step(reading, asked) or 1
    lag = found.coverage.lag_histogram.abs_quantile(0.95)
    until = end - round(lag / step) * step
    lasting = until - (asked.since or first)
    return until if 2 * lasting > end - (asked.since or first) else end


def _began(reading: Reading, asked: Asked, first: int, until: int) -> tuple[int, str]:
    from edgemse.fleet.windows import usual_step

    trend = find("trend")
    course = trend.ask(reading, replace(trend.parse({}, now=0.0), where=asked.where, until=until))
    assert isinstance(course, TrendAnswer)
    if course.changes and course.changes[-1].ratio > RATIO_MIN:
        return int(times.instant(course.changes[-1].at)), "change"
    lasting = until - first
    now = NOW_SECONDS if lasting >= 4 * NOW_SECONDS else lasting // 4
    step = usual_step(reading, asked) or 1
    return max(first, (until - max(now, step)) // step * step), "recent"
