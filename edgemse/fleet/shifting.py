"""Then against now: histograms and moments of windows, and permutations of these windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from edgemse.fleet.windows import STEPS_SECONDS, Numbers, following
from edgemse.stats.error_stats import ErrorStats

__all__ = [
    "DRAWS",
    "QUANTILE_GROUPS",
    "WINDOWS_MIN",
    "Draws",
    "Moved",
    "Side",
    "TailMoved",
    "draws",
    "halves_of",
    "label_moved",
    "residual_moved",
    "slope_moved",
    "tail_moved",
    "unit_seconds",
]

Places = NDArray[np.int64]

DRAWS = 999
"""Permutations: the smallest p-value is 1 in 1,000."""
WINDOWS_MIN = 6
"""Windows on each side below which nothing is tested: 12 have 924 arrangements of 6 and 6."""
ARRANGEMENTS_MIN = 500
"""Below so many different arrangements p could not come well under 1 %."""
QUANTILE_GROUPS = 10
MIDDLE = 0.5
TAIL_QUANTILES = (0.9, 0.95, 0.99)
BEYOND_MIN = 10
"""Samples of each side above a quantile from which it is compared, as in edgemse.fleet.tails."""
BUCKETS_A_DOUBLING = 8
FOLLOWING_MAX = 0.15
"""Lag-1 autocorrelation of windows up to which permuting them keeps its size (AR(1) of 0.9 in
windows of 60 samples has 0.09, and 1.2 to 2.5 % false alarms at 1 %; windows of 10 have 0.5)."""
DAY_SECONDS = 86_400
ROUNDING = 1e-12
BELOW = 10_000
"""Buckets below any: doubles end at 2^-1074, eight buckets to a factor of two."""


@dataclass(frozen=True, slots=True)
class Side:
    """The windows of one group, then and now, in the order of time."""

    start: Places
    """Seconds since 1970-01-01 UTC, a multiple of the unit's width."""
    now: NDArray[np.bool_]
    counts: Numbers | None
    """A row for each window, a column for each bucket from the lowest error to the highest; None
    where a cell has no histogram, or none was asked for."""
    buckets: Places
    """Of each column of counts: 0 for the zero bucket, k + BELOW for the positive bucket k (from
    2^(k/8)), the same below 0 for the negative one; empty without counts."""
    sums: Numbers
    """Of each window, a row: weight and weighted sums of y, e, y^2, y e, e^2, y and e less the mean
    of all windows."""

    @classmethod
    def of(
        cls,
        starts: Sequence[int],
        now: Sequence[bool],
        states: Sequence[ErrorStats],
        unit_seconds: int,
        *,
        histograms: bool = True,
    ) -> Side:
        """Return windows merged into units of that width; then and now are never merged."""
        before = np.array(starts, dtype=np.int64) // unit_seconds * unit_seconds
        keys = np.stack([np.array(now, dtype=np.int64), before])
        units, place = np.unique(keys, axis=1, return_inverse=True)
        place = place.reshape(-1)

        def summed(rows: Numbers) -> Numbers:
            found = np.zeros((units.shape[1], rows.shape[1]))
            np.add.at(found, place, rows)
            return found

        found = _buckets(states) if histograms else None
        buckets, counts = found or (np.zeros(0, dtype=np.int64), None)
        return cls(
            units[1],
            units[0].astype(bool),
            None if counts is None else summed(counts),
            buckets,
            summed(_sums(states)),
        )


def _buckets(states: Sequence[ErrorStats]) -> tuple[Places, Numbers] | None:
    """Return common buckets and each state's counts in them; empty buckets are left out."""
    firsts, runs = [], []
    for stats in states:
        histogram = stats.histogram
        if histogram is None:
            return None
        low, negative = histogram.negative()
        high, positive = histogram.positive()
        # Bucket k is from 2^(k/8); a negative one mirrors it, and what counts as 0 is in between.
        firsts += [-(low + len(negative) - 1) - BELOW, 0, high + BELOW]
        runs += [negative[::-1], [histogram.zero_count], positive]
    sizes = np.array([len(run) for run in runs])
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.repeat(np.array(firsts), sizes) + within
    row = np.repeat(np.arange(len(runs)) // 3, sizes)
    names, column = _numbered(place)
    counts = np.fromiter(chain.from_iterable(runs), dtype=np.float64, count=len(place))
    size = len(states) * len(names)
    flat: Numbers = np.bincount(row * len(names) + column, counts, size).astype(float)
    table = flat.reshape(len(states), len(names))
    held = table.any(axis=0)
    return names[held], table[:, held]


def _numbered(place: Places) -> tuple[Places, Places]:
    """Return the different numbers in order, and of each place its rank among these."""
    used = np.zeros(int(place.max() - place.min()) + 1, dtype=bool)
    used[place - place.min()] = True
    rank = np.cumsum(used) - 1
    return np.flatnonzero(used) + place.min(), rank[place - place.min()]


def _sums(states: Sequence[ErrorStats]) -> Numbers:
    moments = [stats.moments() for stats in states]
    w = np.array([m.weight for m in moments])
    y = np.array([m.y_mean for m in moments])
    e = np.array([m.mean for m in moments])
    total = w.sum() or 1.0  # a group whose samples were all refused has no window
    y, e = y - (w @ y) / total, e - (w @ e) / total
    y2 = np.array([m.y_m2 for m in moments]) + w * y * y
    ye = np.array([m.y_e for m in moments]) + w * y * e
    e2 = np.array([m.m2 for m in moments]) + w * e * e
    return np.stack([w, w * y, w * e, y2, ye, e2], axis=1)


def unit_seconds(
    groups: Sequence[tuple[Sequence[int], Sequence[bool], Sequence[ErrorStats]]], step_seconds: int
) -> int | None:
    """Return how wide a unit must be so that units may be permuted; None: wider than a day.

    The lag-1 autocorrelation of MSE and of the mean error is pooled over groups and sides, the mean
    of each time of day taken out first where there are two days or more. As long as it exceeds
    FOLLOWING_MAX by a standard error, units are made wider.
    """
    for width in (step for step in STEPS_SECONDS if step >= step_seconds):
        series: tuple[list[Numbers], list[Numbers]] = ([], [])
        for starts, now, states in groups:
            side = Side.of(starts, now, states, width, histograms=False)
            for half in (side.now, ~side.now):
                if half.sum() >= WINDOWS_MIN:
                    w, _, e, _, _, e2 = side.sums[half].T
                    for found, values in zip(series, (e2 / w, e / w), strict=True):
                        found.append(_without_days(side.start[half], values, width))
        length = sum(map(len, series[0]))
        if not length:
            return width
        r = np.nanmax([0.0, *(following(each) for each in series)])
        if r - length**-0.5 <= FOLLOWING_MAX:
            return width
    return None


def _without_days(start: Places, values: Numbers, width: int) -> Numbers:
    if start[-1] - start[0] < 2 * DAY_SECONDS or width >= DAY_SECONDS:
        return values
    _, hour = np.unique(start % DAY_SECONDS, return_inverse=True)
    means = np.bincount(hour, values) / np.bincount(hour)
    return values - means[hour]


@dataclass(frozen=True, slots=True)
class Draws:
    """Which units are "now": as it is, and then DRAWS times by chance; a row each."""

    now: Numbers

    def p_value(self, values: Numbers) -> float:
        """Return how often chance alone gives at least what is: (1 + hits) / (1 + draws)."""
        # What is equal but for rounding counts as equal.
        least = values[0] - 1e-12 * abs(values[0])
        return float((values[1:] >= least).sum() + 1) / len(values)


def draws(start: Places, now: NDArray[np.bool_], rng: np.random.Generator) -> Draws | None:
    """Return permutations of the units between then and now; None: too few units for a test.

    Where both sides hold two days or more, units change places only with units of the same time of
    day, so that a daily cycle is no drift.

    Source: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), chapter 3.
    """
    if min(now.sum(), (~now).sum()) < WINDOWS_MIN:
        return None
    days = [len(np.unique(start[half] // DAY_SECONDS)) for half in (now, ~now)]
    strata = start % DAY_SECONDS if min(days) >= 2 else np.zeros_like(start)
    drawn = np.tile(now.astype(np.float64), (DRAWS + 1, 1))
    keys = rng.random((DRAWS, len(now)))
    arrangements = 0.0
    for stratum in np.unique(strata):
        places = np.flatnonzero(strata == stratum)
        chosen = int(now[places].sum())
        arrangements += math.log(math.comb(len(places), chosen))
        rank = keys[:, places].argsort(axis=1).argsort(axis=1)
        drawn[1:, places] = rank < chosen
    return Draws(drawn) if arrangements >= math.log(ARRANGEMENTS_MIN) else None


@dataclass(frozen=True, slots=True)
class Moved:
    """By how much the residuals' distribution moved."""

    psi: float
    noise: float
    """Mean PSI of the permutations: what chance makes, dependence included; NaN without any."""
    p_value: float
    ks: float
    ks_p_value: float


def residual_moved(side: Side, drawn: Draws | None) -> Moved:
    """Compare the residuals' histograms, then and now.

    Buckets are put into QUANTILE_GROUPS groups by quantiles of the reference. With half a sample
    added to each group, p and q its shares now and then: PSI = sum (p - q) log(p / q). KS is the
    largest difference of the two distribution functions at bucket bounds. p-values by permutation.

    Source: Yurdakul and Naranjo, Statistical properties of the population stability index, Journal
    of Risk Model Validation 14 (2020), for PSI; its chi-square limit fails for what follows itself.
    """
    nan = math.nan
    if side.counts is None or not (side.now.any() and (~side.now).any()):
        return Moved(nan, nan, nan, nan, nan)
    total = side.counts.sum(axis=0)
    rows = side.now.astype(np.float64)[None, :] if drawn is None else drawn.now
    now = rows @ side.counts
    then = total - now
    below = now.cumsum(axis=1) / now.sum(axis=1, keepdims=True)
    ks = np.abs(below - then.cumsum(axis=1) / then.sum(axis=1, keepdims=True)).max(axis=1)
    middle = then[0].cumsum() - then[0] / 2
    group = np.minimum(QUANTILE_GROUPS - 1, middle * QUANTILE_GROUPS // then[0].sum())
    firsts = np.flatnonzero(np.diff(group, prepend=-1.0))
    p, q = (_shares(np.add.reduceat(each, firsts, axis=1)) for each in (now, then))
    psi = ((p - q) * np.log(p / q)).sum(axis=1)
    if drawn is None:
        return Moved(float(psi[0]), nan, nan, float(ks[0]), nan)
    noise = float(psi[1:].mean())
    p_values = drawn.p_value(psi), drawn.p_value(ks)
    return Moved(float(psi[0]), noise, p_values[0], float(ks[0]), p_values[1])


@dataclass(frozen=True, slots=True)
class TailMoved:
    """By how much the tail moved away from the middle: whether it is heavier at equal RMSE too."""

    ratio: float
    """Quantile of |e| over its median, now to then, where it stands out most; NaN: not enough."""
    noise: float
    """The same by chance: exp of the mean |log ratio| of the permutations; NaN without any."""
    p_value: float


def tail_moved(side: Side, drawn: Draws | None) -> TailMoved:
    """Compare how far the tail of |e| reaches, in medians of |e|, then and now.

    d_q = log(Q_q / Q_50) now less then, for the 90, 95 and 99 % quantiles with BEYOND_MIN samples
    above them on both sides; the one with the largest |d_q| / sd(d_q), the deviation that of the
    permutations, decides, and p is that of the largest. What multiplies all errors alike is left
    out of it, so that it finds what an RMSE, or ten groups of a PSI, hides.
    """
    nan = math.nan
    if side.counts is None or drawn is None:
        return TailMoved(nan, nan, nan)
    sizes, column = np.unique(np.abs(side.buckets), return_inverse=True)
    counts = np.zeros((len(side.counts), len(sizes)))
    np.add.at(counts.T, column, side.counts.T)
    now = drawn.now @ counts
    then = counts.sum(axis=0) - now
    least = min(now[0].sum(), then[0].sum())
    chosen = [q for q in TAIL_QUANTILES if least * (1 - q) >= BEYOND_MIN]
    middle, *reaches = _log_quantiles(now, sizes, (MIDDLE, *chosen)) - _log_quantiles(
        then, sizes, (MIDDLE, *chosen)
    )
    moves = [reach - middle for reach in reaches]
    moves = [each for each in moves if np.isfinite(each).all() and each[1:].std() > 0]
    if not moves:
        return TailMoved(nan, nan, nan)
    scores = np.array([np.abs(each) / each[1:].std() for each in moves])
    moved = moves[int(scores[:, 0].argmax())]
    noise = float(np.exp(np.abs(moved[1:]).mean()))
    return TailMoved(float(np.exp(moved[0])), noise, drawn.p_value(scores.max(axis=0)))


def _log_quantiles(counts: Numbers, sizes: Places, levels: Sequence[float]) -> Numbers:
    """Return logs of quantiles of |e|, of each row of counts; NaN in the zero bucket."""
    below, rows = counts.cumsum(axis=1), np.arange(len(counts))
    found = np.full((len(levels), len(counts)), np.nan)
    for row, level in zip(found, levels, strict=True):
        wanted = level * below[:, -1]
        place = (below < wanted[:, None]).sum(axis=1)
        part = 1 - (below[rows, place] - wanted) / counts[rows, place]
        row[:] = (sizes[place] - BELOW + part) * (math.log(2) / BUCKETS_A_DOUBLING)
        row[sizes[place] == 0] = np.nan
    return found


def _shares(counts: Numbers) -> Numbers:
    shares: Numbers = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    return shares


def halves_of(side: Side, drawn: Draws | None) -> tuple[Numbers, Numbers] | None:
    """Return the sums of what is "now" and of the rest, a row for each sum; None: one is empty."""
    if not (side.now.any() and (~side.now).any()):
        return None
    rows = side.now.astype(np.float64)[None, :] if drawn is None else drawn.now
    now = side.sums.T @ rows.T
    return now, side.sums.sum(axis=0)[:, None] - now


def label_moved(halves: tuple[Numbers, Numbers] | None, drawn: Draws | None) -> Mapping[str, float]:
    """Compare mean and standard deviation of the labels: `mean`, `shift`, `scale`, `p_value`.

    `shift` is in units of the standard deviation then, `scale` the deviation now to that; NaN where
    labels did not vary. The p-value is twice the smaller of two, of the absolute differences.
    """
    if halves is None:
        return dict.fromkeys(("mean", "shift", "scale", "p_value"), math.nan)
    (mean_now, sd_now), (mean_then, sd_then) = (
        _mean_and_deviation(*sums[[0, 1, 3]]) for sums in halves
    )
    mean, scale = np.abs(mean_now - mean_then), np.abs(sd_now - sd_then)
    varies = sd_then[0] > 0
    p_value = math.nan
    if drawn is not None:
        p_value = min(1.0, 2 * min(drawn.p_value(mean), drawn.p_value(scale)))
    return {
        "mean": float(mean_now[0] - mean_then[0]),
        "shift": float((mean_now[0] - mean_then[0]) / sd_then[0]) if varies else math.nan,
        "scale": float(sd_now[0] / sd_then[0]) if varies else math.nan,
        "p_value": p_value,
    }


def _mean_and_deviation(w: Numbers, y: Numbers, y2: Numbers) -> tuple[Numbers, Numbers]:
    mean = y / w
    variance = y2 / w - mean**2
    # What is left of the difference of equal numbers is rounding.
    return mean, np.sqrt(np.where(variance > ROUNDING * y2 / w, variance, 0))


def slope_moved(
    halves: tuple[Numbers, Numbers] | None, drawn: Draws | None
) -> tuple[float, float, float]:
    """Return the slope of y_true on y_pred now and then, and the p-value of their difference.

    The p-value is twice the smaller of both directions', not that of the absolute difference: where
    predictions are on a far larger scale, a few such windows decide the slope of any mixture, so
    that a draw that has none of them now has the same difference, the other way round.
    """
    if halves is None:
        return math.nan, math.nan, math.nan
    slopes = []
    for w, y, e, y2, ye, e2 in halves:
        yy, yx, xx = y2 - y * y / w, ye - y * e / w, e2 - e * e / w
        predicted = yy + 2 * yx + xx
        slope = np.full(len(w), math.nan)
        np.divide(yy + yx, predicted, out=slope, where=predicted > ROUNDING * (yy + xx))
        slopes.append(slope)
    now, then = slopes
    known = drawn is not None and not np.isnan(now + then).any()
    p_value = math.nan
    if drawn is not None and known:
        both = (drawn.p_value(difference) for difference in (now - then, then - now))
        p_value = min(1.0, 2 * min(both))
    return float(now[0]), float(then[0]), p_value
