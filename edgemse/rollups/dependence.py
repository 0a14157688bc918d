"""What windows show of errors that follow each other, kept before they become one cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from math import fsum, isfinite
from typing import Any

from edgemse.fleet.merging import moments_of
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.tables import ROLLUPS, SERIES, Row

__all__ = ["dependences"]

WINDOWS_MIN = 10
"""As where noise is told from windows (edgemse.fleet.noise)."""
KEY = len(SERIES.columns)


def dependences(
    cells: Sequence[Row], windows: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[int, Row]]:
    """Yield the place of a cell, and the numbers of the table `dependence`, where they are known.

    With K windows of weight w_k, W = sum w_k, mean squared errors x_k and their weighted mean x:

        window_variance = K / (K - 1) sum w_k^2 (x_k - x)^2 / W^2    (batch means)
        products = sum (x_k - x) (x_k+1 - x)    squares = sum (x_k - x)^2

    Args:
        cells: rows of ROLLUPS, one for each series.
        windows: series, start, weight and weighted squares of each window with a sample, in order.
    """
    found = {
        key: [(weight, squares / weight) for *_, weight, squares in rows if weight]
        for key, rows in groupby(windows, key=lambda row: row[:KEY])
    }
    for place, cell in enumerate(cells):
        each = found.get(cell[:KEY], [])
        count = len(each)
        if count < WINDOWS_MIN:
            continue
        total = fsum(weight for weight, _ in each)
        mean = fsum(weight * x for weight, x in each) / total
        scatter = fsum((weight * (x - mean)) ** 2 for weight, x in each)
        off = [x - mean for _, x in each]
        numbers = (
            count / (count - 1) * scatter / total**2,
            _stats(cell).mse_standard_error ** 2,
            fsum(a * b for a, b in pairwise(off)),
            fsum(a * a for a in off),
        )
        if all(isfinite(number) for number in numbers):
            yield place, (count, *numbers)


def _stats(cell: Row) -> ErrorStats:
    row: Mapping[str, object] = dict(zip(ROLLUPS.columns, cell, strict=True))
    return ErrorStats.from_moments(moments_of(row), None)
