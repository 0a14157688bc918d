"""Where a question's rows come from: whole days and hours that are rolled up, cells for the rest.

The answer is the same wherever they come from. An hour that has changed since it was rolled up is
read from its cells, of all devices, until it is rolled up anew; a day with such an hour, from its
other hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from edgemse.stores import rolled
from edgemse.stores.base import Reading
from edgemse.times import DAY_SECONDS, HOUR_SECONDS

__all__ = ["Span", "source"]

Span = tuple[int, int]
"""[first, end) in seconds since 1970-01-01 UTC."""

SPANS_MAX = 24
"""Of hours and of days: more conditions cost more than reading cells between them."""
WIDE = f"window_width_seconds > {HOUR_SECONDS}"
START = "window_start_seconds"


def source(
    reading: Reading,
    since: int | None,
    until: int | None,
    *,
    attributes: Sequence[str] = (),
    finest_seconds: int = DAY_SECONDS,
) -> str:
    """Return a SELECT of the columns of `rollups` for windows that start in [since, until).

    The windows outside may be among its rows as well.

    Args:
        reading: the view of the store.
        since: seconds since 1970-01-01 UTC; None: no bound.
        until: the same.
        attributes: what the question groups or chooses by: a day is read whole only if none of them
            changed within it.
        finest_seconds: what windows may be merged to; below 3,600 only cells are read.
    """
    if finest_seconds < HOUR_SECONDS:
        return rolled.AS_ROLLUPS
    hours, days = _rolled(reading, since, until, attributes, finest_seconds)
    if not hours and not days:
        return rolled.AS_ROLLUPS
    parts = [f"{rolled.AS_ROLLUPS} WHERE {_within(_between([*hours, *days], since, until))}"]
    for width, spans in ((HOUR_SECONDS, hours), (DAY_SECONDS, days)):
        if spans:
            rows = f"{rolled.EVERY_ROLLUP} WHERE window_width_seconds = {width}"
            parts.append(f"{rows} AND {_within(spans)}")
    if hours:
        parts.append(f"{rolled.AS_ROLLUPS} WHERE {WIDE} AND {_within(hours)}")
    return " UNION ALL ".join(parts)


def _rolled(
    reading: Reading,
    since: int | None,
    until: int | None,
    attributes: Sequence[str],
    finest_seconds: int,
) -> tuple[list[Span], list[Span]]:
    """Return the spans of whole hours that are rolled up, and of days; no second is in two."""
    (_, first, last), *rows = reading.rows(rolled.UNCLEAN)
    if first is None:
        return [], []
    hours = {start for width, start, _ in rows if width == HOUR_SECONDS}
    end = last + HOUR_SECONDS
    # A day is whole although some of its hours have no cell, unless it is not asked for whole.
    low, high = first - first % DAY_SECONDS, end - end % -DAY_SECONDS
    if since is not None and since > low:
        low = first = max(first, since)
    if until is not None and until < end:
        high = end = until
    days: list[Span] = []
    if finest_seconds >= DAY_SECONDS:
        unclean = {start for width, start, _ in rows if width == DAY_SECONDS}
        unclean |= {start - start % DAY_SECONDS for start in hours}
        if attributes:
            changes = reading.rows(rolled.CHANGES, ([*attributes],))
            unclean |= {start for (start,) in changes}
        days = _clean(low, high, unclean, DAY_SECONDS)
    rest = [
        span
        for begin, stop in _gaps(days, first, end)
        for span in _clean(begin, stop, hours, HOUR_SECONDS)
    ]
    return rest, days


def _clean(first: int, end: int, unclean: Iterable[int], width: int) -> list[Span]:
    """Return the longest spans of whole periods in [first, end) none of which is unclean."""
    first, end = first - first % -width, end - end % width
    stops = sorted(start for start in unclean if first <= start < end)
    found = [(a + width, b) for a, b in pairwise([first - width, *stops, end]) if a + width < b]
    return sorted(sorted(found, key=lambda span: span[0] - span[1])[:SPANS_MAX])


def _gaps(spans: Sequence[Span], first: int, end: int) -> list[Span]:
    """Return what spans leave of [first, end)."""
    edges = [first, *(edge for span in sorted(spans) for edge in span), end]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def _between(spans: Sequence[Span], since: int | None, until: int | None) -> list[Span]:
    """Return what spans leave of all time that is asked for."""
    return _gaps(spans, 0 if since is None else since, 2**62 if until is None else until)


def _within(spans: Iterable[Span]) -> str:
    """Return the condition that a window starts in one of the spans."""
    each = [f"({START} >= {int(a)} AND {START} < {int(b)})" for a, b in spans]
    return f"({' OR '.join(each) or 'FALSE'})"
