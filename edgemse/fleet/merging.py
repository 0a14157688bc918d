"""The fleet's cells merged by group, in one view of the store: moments and coverage in SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from edgemse.fleet.asked import Asked
from edgemse.fleet.selection import key_text, select
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stats.moments import Moments
from edgemse.stores.base import Reading, Selection

__all__ = ["Group", "Merged", "merge_sql", "merged"]

TEMPLATE = files("edgemse.fleet").joinpath("merge.sql").read_text(encoding="utf-8")
PAIRS = ("mean", "y_mean", "weight", "m2", "y_m2", "y_e")
COVERAGE = ("predictions", "matched", "expired", "orphan", "duplicate", "conflicting")


@dataclass(frozen=True, slots=True)
class Group:
    """The merged cells of one group: its columns' values, the step it starts with, and the rest.

    `start` is in seconds since 1970-01-01 UTC, None where no step is asked for. Quantiles are NaN
    unless histograms were asked for, and so are those of the coverage's lag.
    """

    by: Mapping[str, str]
    start: int | None
    stats: ErrorStats
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Merged:
    """All groups, in the order of their columns' values and the step."""

    columns: tuple[str, ...]
    groups: tuple[Group, ...]

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    def stats(self) -> dict[tuple[str, ...], ErrorStats]:
        """Return the statistics by the columns' values; for groups that no step divides."""
        assert all(group.start is None for group in self.groups)
        return {tuple(group.by.values()): group.stats for group in self.groups}

    def total(self) -> ErrorStats:
        """Return the statistics of all groups; empty if there is none."""
        return merge_all(group.stats for group in self.groups)


def merge_sql(selection: Selection) -> tuple[str, tuple[object, ...]]:
    """Return the SQL that merges the selected cells by group, and its parameters."""
    keys = ", ".join(f"g{place}" for place in range(1, selection.keys + 1))
    sql = TEMPLATE.replace("{keys}", keys)
    # The head of the file explains the place holder; the statement has it twice.
    comment, _, statement = sql.partition("\nWITH ")
    assert comment.startswith("--"), comment[:80]
    times = statement.count("{chosen}")
    return "WITH " + statement.replace("{chosen}", selection.sql), selection.parameters * times


def merged(
    reading: Reading,
    asked: Asked,
    *,
    by: Sequence[str] | None = None,
    step_seconds: int | None = None,
    histograms: bool = True,
    lag_histograms: bool = False,
) -> Merged:
    """Return the statistics of each group that has a cell; none at all if no cell is chosen.

    Args:
        reading: the view of the store.
        asked: which cells, and what they are grouped by.
        by: group columns instead of `asked.by`.
        step_seconds: groups each step of that width apart, aligned on 1970-01-01 UTC.
        histograms: whether quantiles of the error will be asked for.
        lag_histograms: the same of the label lag.

    Raises:
        ColumnError: the fleet has no such column.
    """
    columns = tuple(asked.by if by is None else by)
    selection = select(reading, asked, by=columns, step_seconds=step_seconds)
    errors = reading.histograms(selection) if histograms else {}
    lags = reading.histograms(selection, "lag_histogram") if lag_histograms else {}
    texts = [key_text(column) for column in columns]
    groups = []
    rows = reading.rows(*merge_sql(selection))
    assert rows.names[: selection.keys] == tuple(f"g{n}" for n in range(1, selection.keys + 1))
    # Sorted here: engines order texts by rules of their own.
    for values in sorted(rows, key=lambda row: row[: selection.keys]):
        row = dict(zip(rows.names, values, strict=True))
        key = values[: selection.keys]
        coverage = _coverage(row)
        lag = lags.get(key)
        if lag is not None:
            coverage.lag_histogram = lag
        groups.append(
            Group(
                {c: text(value) for c, text, value in zip(columns, texts, key, strict=False)},
                key[-1] if step_seconds is not None else None,
                ErrorStats.from_moments(_moments(row), errors.get(key)),
                coverage,
            )
        )
    return Merged(columns, tuple(groups))


def _coverage(row: Mapping[str, Any]) -> Coverage:
    coverage = Coverage()
    for name in (*COVERAGE, "lag_ms_sum", "lag_ms_max"):
        setattr(coverage, name, row[name])
    return coverage


def _moments(row: Mapping[str, Any]) -> Moments:
    values = {name: row[name] for name in Moments._fields}
    for name in PAIRS:
        values[name], values[f"{name}_lo"] = _normalised(values[name], values[f"{name}_lo"])
    # Taking the shift out may leave a hair below nothing of a sum of squares.
    for name in ("m2", "m4", "y_m2"):
        if values[name] < 0:
            values[name], values[f"{name}_lo"] = 0.0, 0.0
    values = {name: values[name] for name in Moments._fields}
    return Moments(**values)


def _normalised(high: float, low: float) -> tuple[float, float]:
    """Return the same sum with the high part rounded to nearest (TwoSum, Knuth 1969)."""
    total = high + low
    part = total - high
    return total, (high - (total - part)) + (low - part)
