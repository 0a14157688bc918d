"""Squared errors window by window: what shows how much errors that follow each other repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgemse.fleet.asked import Asked
from edgemse.fleet.selection import key_text, select
from edgemse.stores import statements
from edgemse.stores.base import Reading, Rows

__all__ = [
    "SQUARES",
    "STEPS_SECONDS",
    "WINDOWS_MAX",
    "Ewc",
    "Numbers",
    "Windows",
    "beyond",
    "ewc",
    "following",
    "usual_step",
    "windows_of",
]

Numbers: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

STEPS_SECONDS = (10, 60, 300, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
"""Each divides a day, so that windows of all widths nest in steps."""
WINDOWS_MAX, WINDOWS_MIN = 720, 24
"""A month of hours; below the minimum a step is not made wider to save rows."""
ROWS_MAX = 1_000_000
"""What comes back from the store at once: about a second."""
MOST = 0.9
"""A step is as wide as the windows of this share of the samples."""
# A count stops at 2^53, above which merging leaves the group out.
WIDTHS = (
    "SELECT cell_width_seconds, CAST(least(sum(count), 9007199254740992) AS BIGINT),"
    " min(first_start_seconds), max(last_start_seconds), CAST(sum(cell_count) AS BIGINT)"
    " FROM ({}) AS chosen GROUP BY cell_width_seconds ORDER BY cell_width_seconds"
)
BEYOND = (
    "SELECT {step}, cell_width_seconds, max(last_start_seconds), CAST(sum(cell_count) AS BIGINT)"
    " FROM ({sql}) AS chosen WHERE last_start_seconds + cell_width_seconds > {step} + {width}"
    " GROUP BY {step}, cell_width_seconds"
)
SQUARES = "m2 + weight * (mean + mean_lo) * (mean + mean_lo)"
SUMS = (
    "SELECT {0}, CAST(least(sum(count), 9007199254740992) AS BIGINT) AS samples,"
    " sum(weight) AS weights, sum({2}) AS squares, sum(weight * (mean + mean_lo)) AS errors"
    " FROM ({1}) AS chosen WHERE count > 0{3} GROUP BY {0}"
)
NUMBERED = (
    "SELECT number, {0}, samples, weights, squares, errors FROM ({1}) AS sums"
    " JOIN ({2}) AS numbered USING ({3})"
)
UNGROUPED = (
    "SELECT CAST(0 AS BIGINT) AS number, {0}, samples, weights, squares, errors FROM ({1}) AS sums"
)
"""Numbers come back twice as fast without the texts that they are grouped by."""


@dataclass(frozen=True, slots=True)
class Windows:
    """One group's steps that hold a sample, in the order of time."""

    start: Numbers
    """Seconds since 1970-01-01 UTC."""
    count: Numbers
    weight: Numbers
    squares: Numbers
    """Weighted sum of squared errors, or of what else was summed."""
    errors: Numbers
    """Weighted sum of errors."""

    @property
    def mse(self) -> Numbers:
        """Mean squared error of each step, or of what else was summed."""
        return self.squares / self.weight

    @property
    def bias(self) -> Numbers:
        """Mean error of each step."""
        return self.errors / self.weight


def windows_of(
    reading: Reading,
    asked: Asked,
    groups: int,
    step_seconds: int | None = None,
    summed: str = SQUARES,
    devices: Sequence[str] | None = None,
) -> tuple[int, Mapping[tuple[str, ...], Windows]]:
    """Return the width of a step, and by group its steps that hold a sample.

    Without `step_seconds` a step is as wide as most windows are, or wider, so that there are at
    most 720 of them a group and a million in all. No sample: width 0 and no group. `summed`
    is SQL of a cell's columns, instead of its squared errors; `devices` are the only ones to take.
    """
    most = min(WINDOWS_MAX, max(WINDOWS_MIN, ROWS_MAX // max(1, groups)))
    step = usual_step(reading, asked, most) if step_seconds is None else step_seconds
    if not step:
        return 0, {}
    selection = select(reading, asked, by=asked.by, step_seconds=step)
    keys = ", ".join(f"g{place}" for place in range(1, selection.keys + 1))
    only = "" if devices is None else f" AND device IN ({', '.join('?' * len(devices))})"
    sums = SUMS.format(keys, selection.sql, summed, only)
    parameters = (*selection.parameters, *(devices or ()))
    texts = [key_text(column) for column in asked.by]
    found_keys: list[tuple[Any, ...]] = [()]
    numbered = UNGROUPED.format(f"g{selection.keys}", sums)
    if asked.by:
        whole = select(reading, asked, by=asked.by)
        found_keys = reading.rows(statements.group_keys(whole), whole.parameters).rows
        keys = ", ".join(f"g{place}" for place in range(1, whole.keys + 1))
        of_groups = statements.numbered_groups(whole)
        numbered = NUMBERED.format(f"g{selection.keys}", sums, of_groups, keys)
        parameters += whole.parameters
    arrays = reading.arrays(numbered, parameters)
    found = {found_keys[number]: Windows(*columns) for number, columns in _apart(arrays)}
    # Sorted here: engines order texts by rules of their own.
    return step, {
        tuple(name(value) for name, value in zip(texts, key, strict=True)): found[key]
        for key in sorted(found)
    }


def _apart(arrays: Sequence[Integers | Numbers]) -> Iterator[tuple[int, list[Numbers]]]:
    """Yield each group's number, the first column, and the others of its rows, by the second."""
    order = np.lexsort((arrays[1], arrays[0]))
    numbers = arrays[0][order]
    columns = [column[order].astype(np.float64) for column in arrays[1:]]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    for first, after in pairwise([*starts.tolist(), len(order)]):
        yield int(numbers[first]), [column[first:after] for column in columns]


def usual_step(reading: Reading, asked: Asked, most: int = WINDOWS_MAX) -> int:
    """Return a step as wide as most windows that are asked for, or wider: `most` steps at most.

    0 where there is no sample.
    """
    widths = [row for row in _widths(reading, asked) if row[1]]
    if not widths:
        return 0
    counts = np.cumsum([row[1] for row in widths])
    usual = widths[int(np.searchsorted(counts, MOST * counts[-1]))][0]
    span = max(row[3] + row[0] for row in widths) - min(row[2] for row in widths)
    fitting = [step for step in STEPS_SECONDS if step >= usual and span <= most * step]
    return int(fitting[0] if fitting else STEPS_SECONDS[-1])


def beyond(reading: Reading, asked: Asked, step_seconds: int) -> tuple[int, list[tuple[int, int]]]:
    """Return how many cells reach beyond the step that they start in, and what wide ones cover.

    These are the spans [first, end), whole steps in seconds since 1970-01-01 UTC, of cells wider
    than a step: the first step has the samples of the others as well.
    """
    selection = select(reading, asked, by=(), step_seconds=step_seconds)
    sql = BEYOND.format(step=f"g{selection.keys}", sql=selection.sql, width=int(step_seconds))
    cells, spans = 0, []
    for first, width, last, count in reading.rows(sql, selection.parameters):
        cells += count
        if width > step_seconds:
            end = last + width
            spans.append((first, end + -end % step_seconds))
    return cells, spans


def _widths(reading: Reading, asked: Asked) -> Rows:
    selection = select(reading, asked, by=())
    return reading.rows(WIDTHS.format(selection.sql), selection.parameters)


@dataclass(frozen=True, slots=True)
class Ewc:
    """A variance that holds for what follows itself, and how many degrees of freedom it has."""

    variance: float
    freedom: float


def ewc(values: Numbers, weights: Numbers) -> Ewc:
    """Estimate the variance of the weighted mean of a series by equal-weighted cosines.

    With K values x_k of weight w_k in the order of time, their weighted mean x and W = sum w_k:

        z_k = K w_k (x_k - x) / W       nu = max(4, floor(0.4 K^(2/3)))
        L_j = sqrt(2 / K) sum_k z_k cos(pi j (k - 1/2) / K),  j = 1 ... nu
        variance = mean_j(L_j^2) / K

    The lowest frequencies hold what neighbours share, so that nothing is assumed of it but that it
    fades within the series. At least 10 values; nu must be below K.

    Source: Lazarus, Lewis, Stock and Watson, HAR Inference: Recommendations for Practice, Journal
    of Business and Economic Statistics 36 (2018).
    """
    count = len(values)
    nu = max(4, int(0.4 * count ** (2 / 3)))
    total = weights.sum()
    z = count * weights * (values - (weights * values).sum() / total) / total
    loads = np.sqrt(2 / count) * (_waves(count, nu) @ z)
    return Ewc(float(np.mean(loads**2)) / count, float(nu))


@lru_cache(maxsize=64)
def _waves(count: int, nu: int) -> Numbers:
    """Return the cosines: most groups of a question have as many windows as another one."""
    place = np.arange(1, count + 1) - 0.5
    waves: Numbers = np.cos(np.pi / count * np.outer(np.arange(1, nu + 1), place))
    return waves


def following(series: list[Numbers]) -> float:
    """Return the lag-1 autocorrelation of series, pooled, with Kendall's bias taken out.

    Each series of K values adds its products; (1 + 4 r) / K of the average K is added to their
    ratio r (Kendall 1954, Marriott and Pope 1954). NaN where nothing varies.
    """
    products = squares = length = 0.0
    for values in series:
        centred = values - values.mean()
        products += float(centred[1:] @ centred[:-1])
        squares += float(centred @ centred)
        length += len(values)
    if not squares > 0:
        return float("nan")
    r = products / squares
    return min(r + (1 + 4 * r) * len(series) / length, 0.999)
