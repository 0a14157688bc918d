"""The fleet's cells merged by group: moments in SQL, histograms here, in one view of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeAlias

from edgemse.fleet.selection import BY_MAX, Filter, Selection
from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stats.moments import Moments
from edgemse.stores import Query

__all__ = ["Groups", "merged"]

Groups: TypeAlias = Mapping[tuple[str, ...], ErrorStats]
"""Statistics by the values of the columns that they are grouped by, sorted by these."""

MERGE_SQL = files("edgemse.fleet").joinpath("merge.sql").read_text(encoding="utf-8")


def merged(query: Query, by: Sequence[str], where: Filter) -> Groups:
    """Return the statistics of each group; no group at all if no cell is chosen.

    Raises ColumnError if the fleet has no such column.
    """
    selection = Selection.of(query, by, where)
    histograms: dict[tuple[str, ...], ResidualHistogram] = {}
    columns = ", ".join(f"g{place}" for place in range(1, BY_MAX + 1))
    chosen = f"SELECT {columns}, histogram FROM ({selection.sql}) AS chosen"  # noqa: S608
    for *group, histogram in query(chosen, selection.parameters):
        key = tuple(group[: len(by)])
        if key not in histograms:
            histograms[key] = ResidualHistogram()
        histograms[key].merge(ResidualHistogram.from_bytes(histogram))
    sql = f"WITH chosen AS ({selection.sql}) SELECT * FROM ({MERGE_SQL}) AS merged"  # noqa: S608
    groups = {}
    for row in query(sql, selection.parameters):
        key = tuple(row[: len(by)])
        groups[key] = ErrorStats.from_moments(_moments(row[BY_MAX:]), histograms[key])
    return groups


def _moments(row: Sequence[Any]) -> Moments:
    moments = Moments(*row)
    mean, mean_lo = _normalised(moments.mean, moments.mean_lo)
    y_mean, y_mean_lo = _normalised(moments.y_mean, moments.y_mean_lo)
    weight, weight_lo = _normalised(moments.weight, moments.weight_lo)
    m2, m2_lo = _normalised(moments.m2, moments.m2_lo)
    y_m2, y_m2_lo = _normalised(moments.y_m2, moments.y_m2_lo)
    y_e, y_e_lo = _normalised(moments.y_e, moments.y_e_lo)
    return moments._replace(
        mean=mean,
        mean_lo=mean_lo,
        y_mean=y_mean,
        y_mean_lo=y_mean_lo,
        weight=weight,
        weight_lo=weight_lo,
        m2=m2,
        m2_lo=m2_lo,
        y_m2=y_m2,
        y_m2_lo=y_m2_lo,
        y_e=y_e,
        y_e_lo=y_e_lo,
    )


def _normalised(high: float, low: float) -> tuple[float, float]:
    """Return the same sum with the high part rounded to nearest (TwoSum, Knuth 1969)."""
    total = high + low
    part = total - high
    return total, (high - (total - part)) + (low - part)
