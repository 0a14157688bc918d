"""A series of log RMSE: its slope with an honest interval, its cycles, and where it changes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from edgemse.fleet.windows import Numbers

__all__ = ["SLOPE_MIN", "Line", "changes", "cycle", "line"]

DAY_SECONDS = 86_400
SLOPE_MIN = 30
"""Steps below which no interval of a slope holds."""
BLOCKS = 24
CYCLE_DAYS, WEEK_DAYS = 7, 28
"""Days from which a daily, a weekly cycle is taken out: four values each of a weekday."""
MEDIAN_STEPS = 25
CHANGE_STEPS_MIN = 3
"""A change lasts; what lasts less is a spike."""
CHANGES_MIN = MEDIAN_STEPS + 5


class Line(NamedTuple):
    """A slope per second with its 95 % interval, and Theil and Sen's beside it."""

    slope: float
    low: float
    high: float
    theil_sen: float


def cycle(seconds: Numbers, values: Numbers, step_seconds: int) -> tuple[Numbers, list[str]]:
    """Return the daily and weekly cycle of a series, to be taken from it, and their names.

    The median of each time of day, of what a straight line leaves, in a series of seven
    days or more with four steps a day; then that of each weekday, from 28 days. Zero otherwise.
    """
    found, names = np.zeros(len(values)), []
    days = (seconds.max() - seconds.min() + step_seconds) / DAY_SECONDS
    parts = []
    if days >= CYCLE_DAYS and step_seconds * 4 <= DAY_SECONDS:
        parts.append((seconds % DAY_SECONDS, "daily"))
    if days >= WEEK_DAYS and step_seconds <= DAY_SECONDS:
        parts.append((seconds // DAY_SECONDS % 7, "weekly"))
    slope, level = np.polyfit(seconds - seconds[0], values, 1) if parts else (0.0, 0.0)
    left = values - level - slope * (seconds - seconds[0])
    for phase, name in parts:
        slots, place = np.unique(phase, return_inverse=True)
        medians = np.array([np.median(left[place == slot]) for slot in range(len(slots))])
        medians -= np.median(left)
        found += medians[place]
        left = left - medians[place]
        names.append(name)
    return found, names


def line(seconds: Numbers, squares: Numbers, weight: Numbers) -> Line | None:
    """Return the slope of log RMSE, or None with fewer than SLOPE_MIN steps.

    From 48 steps on they are merged into 24 blocks. Least squares through their log RMSE; with the
    lag-1 autocorrelation r of what is left, phi = r + (2 + 4 r) / B (Kendall's bias of a line's
    residuals) and n_eff = B (1 - phi) / (1 + phi), held above 3, sigma^2 = SSR / (n_eff - 2) and
    Student's t with n_eff - 2 degrees of freedom.

    Source: Santer et al., Journal of Geophysical Research 105 (2000); Theil 1950, Sen 1968.
    """
    steps = len(seconds)
    if steps < SLOPE_MIN:
        return None
    count = BLOCKS if steps >= 2 * BLOCKS else steps
    parts = np.array_split(np.arange(steps), count)
    time = np.array([seconds[part].mean() for part in parts])
    y = np.array([np.log(squares[part].sum() / weight[part].sum()) / 2 for part in parts])
    x = time - time.mean()
    slope = float((x * y).sum() / (x * x).sum())
    left = y - y.mean() - slope * x
    ssr = float((left * left).sum())
    r = float(left[1:] @ left[:-1]) / ssr if ssr > 0 else 0.0
    phi = min(max(r + (2 + 4 * r) / count, 0.0), 0.999)
    worth = max(3.0, count * (1 - phi) / (1 + phi))
    error = np.sqrt(ssr / (worth - 2) / (x * x).sum())
    reach = float(stdtrit(worth - 2, 0.975) * error)
    first, second = np.triu_indices(count, 1)
    sen = float(np.median((y[second] - y[first]) / (x[second] - x[first])))
    return Line(slope, slope - reach, slope + reach, sen)


def changes(values: Numbers) -> list[int]:
    """Return the places at which the level of a series changes, the first of the new level each.

    Optimal partitioning into levels of at least three steps: the sum of squares about them plus a
    penalty of 3 s^2 (1 + phi) / (1 - phi) log T for each, where s and phi, the standard deviation
    and lag-1 autocorrelation, are of what a running median over 25 steps leaves. None below
    CHANGES_MIN steps.

    Source: Jackson et al., IEEE Signal Processing Letters 12 (2005); the penalty as for PELT
    (Killick, Fearnhead and Eckley, JASA 107, 2012), with the long-run variance.
    """
    steps = len(values)
    if steps < CHANGES_MIN:
        return []
    half = MEDIAN_STEPS // 2
    near = [values[max(0, t - half) : t + half + 1] for t in range(steps)]
    left = values - np.array([np.median(each) for each in near])
    left = left - left.mean()
    square = float(left @ left)
    if not square > 0:
        return []
    phi = min(max(float(left[1:] @ left[:-1]) / square, 0.0), 0.9)
    penalty = 3 * square / steps * (1 + phi) / (1 - phi) * np.log(steps)
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    squares = np.concatenate([[0.0], np.cumsum((values - values.mean()) ** 2)])
    best, last = np.full(steps + 1, np.inf), np.zeros(steps + 1, dtype=np.int64)
    best[0] = -penalty
    for end in range(CHANGE_STEPS_MIN, steps + 1):
        starts = np.arange(end - CHANGE_STEPS_MIN + 1)
        level = (sums[end] - sums[starts]) ** 2 / (end - starts)
        cost = best[starts] + squares[end] - squares[starts] - level + penalty
        last[end] = int(np.argmin(cost))
        best[end] = cost[last[end]]
    found, place = [], steps
    while last[place] > 0:
        place = int(last[place])
        found.append(place)
    return found[::-1]
