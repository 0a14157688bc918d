"""Is one version better than the other, across devices that each ran both on the same signal?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import mean, stdev
from typing import NamedTuple

__all__ = ["PairedDifference", "paired_difference"]


class PairedDifference(NamedTuple):
    """How much larger (in percent; below 0: smaller) the second RMSE is, and how sure that is."""

    devices: int
    percent: float
    low: float
    high: float


def paired_difference(
    pairs: Iterable[tuple[float, float]], confidence: float = 0.95
) -> PairedDifference:
    """Compare two versions by their RMSE on each device.

    Over the G devices where both are above 0, with d_i = log(second_i / first_i):

        mean(d) +- t_{G-1} sd(d) / sqrt(G),     each shown as 100 (exp(.) - 1) percent

    The device is the unit: samples of one device depend on each other, devices much less so.
    Returns NaN for what cannot be known: the interval of one device, anything of none.
    """
    ratios = [math.log(second / first) for first, second in pairs if first > 0 and second > 0]
    count = len(ratios)
    if count < 2:
        only = _percent(ratios[0]) if ratios else math.nan
        return PairedDifference(count, only, math.nan, math.nan)
    from scipy.special import stdtrit  # a third of a second, once, at the end

    quantile = float(stdtrit(count - 1, (1 + confidence) / 2))
    half = quantile * stdev(ratios) / math.sqrt(count)
    centre = mean(ratios)
    return PairedDifference(
        count, _percent(centre), _percent(centre - half), _percent(centre + half)
    )


def _percent(log_ratio: float) -> float:
    return 100 * math.expm1(log_ratio)
