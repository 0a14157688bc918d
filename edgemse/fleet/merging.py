"""The fleet's cells merged by group, in one view of the store: moments and coverage in SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.selection import key_text, select
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stats.moments import Moments
from edgemse.stores.base import Reading, Rows, Selection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MOST", "Group", "Merged", "Noting", "merge_sql", "merged", "moments_of", "without"]

TEMPLATE = files("edgemse.fleet").joinpath("merge.sql").read_text(encoding="utf-8")
PAIRS = ("mean", "y_mean", "weight", "m2", "y_m2", "y_e")
COVERAGE = ("predictions", "matched", "expired", "orphan", "duplicate", "conflicting")
COUNTS = ("count", "nonfinite", "out_of_range", *COVERAGE)
COUNT_MAX = 2**53
"""Samples of one state, or of all that are asked for: a double holds every count up to there."""
MOST = {**dict.fromkeys(COUNTS, COUNT_MAX), "lag_ms_sum": 2**63 - 2}
"""Of a group, and of all together; SQL gives 2^63 - 1 for every sum from there on."""
NAMED_MAX = 5


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
    left_out: tuple[str, ...] = ()
    """Names of groups with more samples, predictions or lag than can be counted."""

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


@dataclass(slots=True)
class Noting:
    """A view of the store for one answer: it remembers what merging had to leave out of it."""

    reading: Reading
    left_out: set[str] = field(default_factory=set)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one SELECT; see Reading.rows."""
        return self.reading.rows(sql, parameters)

    def arrays(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[NDArray[np.float64] | NDArray[np.int64]]:
        """Run one SELECT of numbers; see Reading.arrays."""
        return self.reading.arrays(sql, parameters)

    def to_parquet(self, sql: str, parameters: Sequence[object], path: Path) -> None:
        """Write the rows of one SELECT; see Reading.to_parquet."""
        self.reading.to_parquet(sql, parameters, path)

    def histograms(
        self, selection: Selection, column: str = "histogram"
    ) -> Mapping[tuple[Any, ...], ResidualHistogram | None]:
        """Merge a histogram column by group; see Reading.histograms."""
        return self.reading.histograms(selection, column)

    def interrupt(self) -> None:
        """End what another thread runs; see Reading.interrupt."""
        self.reading.interrupt()

    def notes(self) -> Iterator[str]:
        """Yield what was left out, in words; nothing where all is in the answer."""
        names = sorted(self.left_out)
        if names:
            more = f" and {len(names) - NAMED_MAX:,} more" if len(names) > NAMED_MAX else ""
            yield (
                f"left out, because their counts add up to more than 2^53, or their label lags to"
                f" more than 2^63 ms: {'; '.join(names[:NAMED_MAX])}{more}. No device has so many"
                " samples; find the cells that claim it"
            )


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

    What cannot be counted is left out: groups of more than 2^53 samples, the largest ones if all
    together have more, and sums of lags above 2^63 ms. `left_out` names them, and a Noting
    remembers them for the answer.

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
    texts = [key_text(column) for column in columns]
    rows = reading.rows(*merge_sql(selection))
    assert rows.names[: selection.keys] == tuple(f"g{n}" for n in range(1, selection.keys + 1))
    # Sorted here: engines order texts by rules of their own.
    ordered = sorted(rows, key=lambda row: row[: selection.keys])
    found = {row[: selection.keys]: dict(zip(rows.names, row, strict=True)) for row in ordered}
    beyond = _beyond(found)
    names = tuple(_name(columns, texts, key, step_seconds) for key in beyond)
    if isinstance(reading, Noting):
        reading.left_out.update(names)
    rest = without(selection, beyond)
    kept = {key: row for key, row in found.items() if key not in beyond}
    errors = reading.histograms(rest) if histograms else {}
    lagging = lag_histograms and any(row["matched"] for row in kept.values())
    lags = reading.histograms(rest, "lag_histogram") if lagging else {}
    groups = []
    for key, row in kept.items():
        coverage = _coverage(row)
        lag = lags.get(key)
        if lag is not None:
            coverage.lag_histogram = lag
        groups.append(
            Group(
                {c: text(value) for c, text, value in zip(columns, texts, key, strict=False)},
                key[-1] if step_seconds is not None else None,
                ErrorStats.from_moments(moments_of(row), errors.get(key)),
                coverage,
            )
        )
    return Merged(columns, tuple(groups), names)


def _beyond(found: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the keys of what cannot be counted, so that the rest can be merged in any way."""
    if all(sum(row[name] for row in found.values()) <= most for name, most in MOST.items()):
        return []  # no count is negative
    out = {key for key, row in found.items() if any(row[n] > most for n, most in MOST.items())}
    left = {key: row for key, row in found.items() if key not in out}
    for name, most in MOST.items():
        total = sum(row[name] for row in left.values())
        for key in sorted(left, key=lambda key: -left[key][name]) if total > most else ():
            total -= left.pop(key)[name]
            out.add(key)
            if total <= most:
                break
    return sorted(out)


def without(selection: Selection, keys: Sequence[tuple[Any, ...]]) -> Selection:
    """Return the same cells but for those of some groups."""
    if not keys:
        return selection
    each = " AND ".join(f"g{place} = ?" for place in range(1, selection.keys + 1))
    sql = f"SELECT * FROM ({selection.sql}) AS counted WHERE NOT ("  # noqa: S608 - our own
    sql += " OR ".join([f"({each})"] * len(keys)) + ")"
    return Selection(sql, (*selection.parameters, *chain(*keys)), selection.keys)


def _name(
    columns: Sequence[str], texts: Sequence[Any], key: tuple[Any, ...], step: int | None
) -> str:
    """Return what a note calls a group."""
    words = [f"{c} {text(v)!r}" for c, text, v in zip(columns, texts, key, strict=False)]
    if step is not None:
        words.append(f"the {step} s from {iso_time(key[-1])}")
    return ", ".join(words) or "all"


def _coverage(row: Mapping[str, Any]) -> Coverage:
    coverage = Coverage()
    for name in (*COVERAGE, "lag_ms_sum", "lag_ms_max"):
        setattr(coverage, name, row[name])
    return coverage


def moments_of(row: Mapping[str, Any]) -> Moments:
    """Return the moments of a row of merge.sql."""
    values = dict(row)
    for name in PAIRS:
        low = f"{name}_lo"
        if values[low]:
            values[name], values[low] = _normalised(values[name], values[low])
    # Taking the shift out may leave a hair below nothing of a sum of squares.
    for name in ("m2", "m4", "y_m2"):
        if values[name] < 0:
            values[name], values[f"{name}_lo"] = 0.0, 0.0
    return Moments._make([values[name] for name in Moments._fields])


def _normalised(high: float, low: float) -> tuple[float, float]:
    """Return the same sum with the high part rounded to nearest (TwoSum, Knuth 1969)."""
    total = high + low
    part = total - high
    return total, (high - (total - part)) + (low - part)
