"""Worse at which quantile, and is the tail heavier than the RMSE says?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgemse.stats.error_stats import ErrorStats

if TYPE_CHECKING:
    from edgemse.fleet.arms import Arm, Estimate

__all__ = ["FAR", "Tail", "tails"]

QUANTILES = (0.5, 0.9, 0.95, 0.99)
FAR = 0.95
"""From this quantile on it is the tail."""
BEYOND_MIN = 10
"""Samples of a device above a quantile from which its ratio holds (simulated)."""


@dataclass(frozen=True, kw_only=True)
class Tail:
    """One quantile of the absolute error: b to a, and to what the RMSE alone would make of it."""

    q: float
    ratio: float
    low: float
    """95 % interval."""
    high: float
    worse_p_adjusted: float
    """One-sided, of the hypothesis that the quantile is not up, for all of them at once (Holm)."""
    worse: bool | None
    """That is under 5 %, or what the look allows; None: not enough data."""
    relative: float
    """`ratio` over the ratio of the RMSE: above 1 b's errors lie further out than its RMSE says."""
    p_adjusted: float
    """Of the hypothesis that `relative` is not above 1, for all quantiles at once (Holm)."""
    heavier: bool | None
    """That is under 5 %, or what the look allows; None: not enough data."""


def tails(a: Arm, b: Arm, level: float) -> Iterator[Tail]:
    """Compare quantiles of |e| by device, and then the same in units of each device's RMSE.

    By device as the RMSE is (`by_devices`), on log(quantile) and on log(quantile / RMSE), over the
    devices with ten samples above the quantile; one-sided, with Holm over the quantiles, at
    `level` (NaN: nothing is claimed).
    """
    from edgemse.fleet.arms import holm

    plain = [_of(a, b, q, relative=False) for q in QUANTILES]
    relative = [_of(a, b, q, relative=True) for q in QUANTILES]
    worse = holm([each.above() for each in plain])
    adjusted = holm([each.above() for each in relative])
    for q, estimate, p, beyond, p_beyond in zip(
        QUANTILES, plain, worse, relative, adjusted, strict=True
    ):
        low, high = estimate.interval()
        yield Tail(
            q=q,
            ratio=estimate.ratio,
            low=low,
            high=high,
            worse_p_adjusted=p,
            worse=None if math.isnan(p * level) else p < level,
            relative=beyond.ratio,
            p_adjusted=p_beyond,
            heavier=None if math.isnan(p_beyond * level) else p_beyond < level,
        )


def _of(a: Arm, b: Arm, q: float, *, relative: bool) -> Estimate:
    from edgemse.fleet.arms import by_devices

    def enough(arm: Arm) -> dict[str, ErrorStats]:
        return {n: stats for n, stats in arm.items() if stats.count * (1 - q) >= BEYOND_MIN}

    def value(stats: ErrorStats) -> float:
        quantile = stats.abs_quantile(q) / (stats.rmse if relative else 1.0)
        return math.log(quantile) if quantile > 0 else math.nan

    found = by_devices(enough(a), enough(b), value)
    return found if found.method else replace(found, value=math.nan)
