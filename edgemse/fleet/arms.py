"""Two versions against each other: the log ratio of their RMSE, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import nctdtr, stdtr, stdtrit

from edgemse.fleet.noise import WINDOWS_MIN, WORTH_MIN
from edgemse.fleet.windows import Numbers, Windows, ewc, following
from edgemse.stats.error_stats import ErrorStats

__all__ = [
    "COUNT_MIN",
    "DEVICES_MIN",
    "Arm",
    "Estimate",
    "apart",
    "by_devices",
    "by_windows",
    "devices_needed",
    "holm",
    "jackknifed",
    "paired",
    "pooled",
    "ratio_of",
    "together",
    "usable",
]

Arm: TypeAlias = Mapping[str, ErrorStats]
"""One version's statistics by device."""

COUNT_MIN = 20
"""Samples of a device in a version below which it is left out: its MSE says too little."""
DEVICES_MIN = 3
"""Devices in a version from which they are the unit of comparison."""
POWER = 0.8
EXP_MAX = 709.0
"""exp of more is beyond floats (1.8e308)."""
SHIFT_MAX = 100.0
"""Noncentrality at which the power is 1 whatever the degrees of freedom; far beyond, scipy's
function returns NaN."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A log ratio, b to a, with its standard error and degrees of freedom (NaN: not enough)."""

    value: float
    error: float
    freedom: float
    devices: int
    """Devices that it rests on."""
    method: str
    """ "paired", "unpaired", "windows", or "" where there is not enough data."""
    windows: int = 0
    """Windows that it rests on, by `by_windows`."""

    @property
    def ratio(self) -> float:
        """exp(value)."""
        return ratio_of(self.value)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval of the ratio: exp(value -+ t error); inf beyond floats."""
        if self.error == 0:  # all differences are equal: a point
            return self.ratio, self.ratio
        reach = float(stdtrit(self.freedom, 0.5 + confidence / 2)) * self.error
        return ratio_of(self.value - reach), ratio_of(self.value + reach)

    def above(self, log_limit: float = 0.0) -> float:
        """Return the one-sided p-value of the hypothesis that the log ratio is at most that."""
        if self.error == 0:
            return 0.0 if self.value > log_limit else 1.0
        return float(stdtr(self.freedom, (log_limit - self.value) / self.error))

    def measured(self, error: float, freedom: float, method: str) -> Estimate:
        """Return the same value with another standard error."""
        return Estimate(self.value, error, freedom, self.devices, method)

    def two_sided(self) -> float:
        """Return the p-value of the hypothesis that the ratio is 1."""
        if self.error == 0:
            return 0.0 if self.value else 1.0
        return 2 * float(stdtr(self.freedom, -abs(self.value / self.error)))


def ratio_of(value: float) -> float:
    """Return exp(value); inf beyond floats."""
    return math.exp(value) if value < EXP_MAX or math.isnan(value) else math.inf


def usable(arm: Arm) -> dict[str, ErrorStats]:
    """Return the devices with enough samples and any error at all."""
    return {name: stats for name, stats in arm.items() if stats.count >= COUNT_MIN and stats.mse}


def by_devices(
    a: Arm, b: Arm, value: Callable[[ErrorStats], float] = lambda stats: math.log(stats.rmse)
) -> Estimate:
    """Compare with the device as the unit, so that nothing is assumed inside of one.

    Paired, where three devices or more ran both versions: d_i = value(b_i) - value(a_i), their mean
    and sd / sqrt(G), Student's t with G - 1. Unpaired, where each version ran on three or more:
    difference of the means of value, Welch's standard error and degrees of freedom. `value` is the
    log RMSE unless told otherwise; a device where it is not finite is left out.

    Source: Welch, The generalization of Student's problem, Biometrika 34 (1947). For an intercept
    the cluster-robust CR2 with Bell and McCaffrey's degrees of freedom is the paired t.
    """
    one = {name: value(stats) for name, stats in usable(a).items()}
    two = {name: value(stats) for name, stats in usable(b).items()}
    one = {name: each for name, each in one.items() if math.isfinite(each)}
    two = {name: each for name, each in two.items() if math.isfinite(each)}
    both = sorted(one.keys() & two.keys())
    if len(both) >= DEVICES_MIN:
        return paired(np.array([two[name] - one[name] for name in both]))
    x, y = np.array([*one.values()]), np.array([*two.values()])
    if min(len(x), len(y)) < DEVICES_MIN:
        difference = float(y.mean() - x.mean()) if len(x) and len(y) else math.nan
        return Estimate(difference, math.nan, math.nan, len(one.keys() | two.keys()), "")
    parts = np.array([x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)])
    variance = float(parts.sum())
    freedom = variance**2 / float((parts**2 / (np.array([len(x), len(y)]) - 1)).sum() or math.inf)
    devices = len(one.keys() | two.keys())
    difference = float(y.mean() - x.mean())
    return Estimate(difference, math.sqrt(variance), freedom, devices, "unpaired")


def paired(differences: Numbers) -> Estimate:
    """Return the mean of differences by device, with Student's t; at least three of them."""
    count = len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    return Estimate(float(differences.mean()), error, count - 1.0, count, "paired")


def by_windows(
    a: Windows | None, b: Windows | None, devices: int, following_max: float = 1.0
) -> Estimate:
    """Compare two versions of too few devices by windows: it speaks of these devices only.

    With the sums of squared errors S and weights W of each version, the ratio is
    log(S_b / W_b / (S_a / W_a)) / 2. Each of K steps moves it by half of (s_bk / S_b - w_bk / W_b)
    - (s_ak / S_a - w_ak / W_a); the variance of their sum is by equal-weighted cosines
    (edgemse.fleet.windows.ewc), which hold for errors that follow each other. NaN under ten steps,
    or where they follow each other too closely. Neighbouring steps are taken together as long as
    their lag-1 autocorrelation is above `following_max`.
    """
    if a is None or b is None or not (a.squares.sum() > 0 and b.squares.sum() > 0):
        return Estimate(math.nan, math.nan, math.nan, devices, "")
    starts = np.union1d(a.start, b.start)
    moves = np.zeros(len(starts))
    for sign, arm in ((1.0, b), (-1.0, a)):
        share = arm.squares / arm.squares.sum() - arm.weight / arm.weight.sum()
        moves[np.searchsorted(starts, arm.start)] += sign * share / 2
    value = math.log((b.squares.sum() / b.weight.sum()) / (a.squares.sum() / a.weight.sum())) / 2
    r = max(following([moves]), 0.0) if len(moves) >= WINDOWS_MIN else 0.0
    while r > following_max and len(moves) >= 2 * WINDOWS_MIN:
        moves = np.add.reduceat(moves, np.arange(0, len(moves) - 1, 2))
        r = max(following([moves]), 0.0)
    count = len(moves)
    if count < WINDOWS_MIN or not count * (1 - r) / (1 + r) >= WORTH_MIN:
        return Estimate(value, math.nan, math.nan, devices, "")
    found = ewc(count * moves, np.ones(count))
    return Estimate(value, math.sqrt(found.variance), found.freedom, devices, "windows", count)


def pooled(a: Arm, b: Arm) -> Estimate:
    """Compare the RMSE over all samples, where a device counts by its samples.

    log(mse_b / mse_a) / 2 with the standard error of a jackknife that leaves one device out (CR3).
    Paired, where three devices or more ran both (the others are left out): G_eff - 1 degrees of
    freedom, G_eff = 1 / sum w_i^2, w_i the device's share of the squared error. Else a jackknife
    for each version, w_i its share of the samples, and Welch's degrees of freedom.

    Source: Efron and Stein, The jackknife estimate of variance, Annals of Statistics 9 (1981).
    """
    one, two = usable(a), usable(b)
    both = sorted(one.keys() & two.keys())
    if len(both) >= DEVICES_MIN:
        return together(_sums(one, both)[None], _sums(two, both)[None], np.ones(1))
    devices = len(one.keys() | two.keys())
    if min(len(one), len(two)) < DEVICES_MIN:
        return Estimate(math.nan, math.nan, math.nan, devices, "")
    one_sums, two_sums = (_sums(arm, sorted(arm))[None] for arm in (one, two))
    return apart(one_sums, two_sums, np.ones(1), devices)


def apart(x: Numbers, y: Numbers, weights: Numbers, devices: int) -> Estimate:
    """Compare versions on different devices, each segment with its weight; see `pooled`.

    For each version a table by segment, sum (squared errors, weights) and device; no device is
    all of a segment. log(sum f_s mse_b,s / sum f_s mse_a,s) / 2 for weights f_s.
    """
    first, second = (_left_out(sums, weights) for sums in (x, y))
    parts = first.error**2, second.error**2
    variance = sum(parts)
    below = parts[0] ** 2 / first.freedom + parts[1] ** 2 / second.freedom
    freedom = variance**2 / below if below else math.nan
    difference = second.value - first.value
    return Estimate(difference, math.sqrt(variance), freedom, devices, "unpaired")


def jackknifed(arm: Arm) -> Estimate:
    """Return the log RMSE over all samples of some devices, by a jackknife that leaves one out.

    Degrees of freedom are G_eff - 1, G_eff = 1 / sum w_i^2, w_i the device's share of the samples.
    """
    return _left_out(_sums(arm, sorted(arm))[None], np.ones(1))


def _left_out(sums: Numbers, weights: Numbers) -> Estimate:
    """Return the log RMSE of one version as `apart` has it: segments with their weights."""
    value = float(_log_standard(sums.sum(axis=2)[..., None], weights)[0])
    share = weights @ (sums[:, 1] / sums[:, 1].sum(axis=1, keepdims=True)) / weights.sum()
    freedom = max(1.0, 1 / float((share**2).sum()) - 1)
    error = math.sqrt(_jackknife(_log_standard(_without(sums), weights), value))
    return Estimate(value, error, freedom, sums.shape[2], "")


def together(x: Numbers, y: Numbers, weights: Numbers) -> Estimate:
    """Compare versions on the same devices, each segment with its weight; see `apart`, `pooled`."""
    one, two = (_log_standard(_without(each), weights) for each in (x, y))
    whole = [float(_log_standard(s.sum(axis=2)[..., None], weights)[0]) for s in (x, y)]
    value = whole[1] - whole[0]
    squares = weights @ sum(s[:, 0] / s[:, 1].sum(axis=1, keepdims=True) for s in (x, y))
    freedom = max(1.0, 1 / float(((squares / squares.sum()) ** 2).sum()) - 1)
    return Estimate(value, math.sqrt(_jackknife(two - one, value)), freedom, x.shape[2], "paired")


def _sums(arm: Arm, names: Sequence[str]) -> Numbers:
    """Return squared errors and weights of the devices, two rows."""
    return np.array([[arm[n].mse * arm[n].weight for n in names], [arm[n].weight for n in names]])


def _log_standard(sums: Numbers, weights: Numbers) -> Numbers:
    """Return log RMSE, each segment with its weight, of sums by segment, sum and what is left."""
    found: Numbers = 0.5 * np.log(weights @ (sums[:, 0] / sums[:, 1]) / weights.sum())
    return found


def _without(sums: Numbers) -> Numbers:
    """Return the sums of all devices (the last axis) but each one.

    By the sums before and after it: taken off the whole, a device that has nearly all of the
    squared error would leave rounding errors, or less than nothing.
    """
    before = np.zeros_like(sums)
    before[..., 1:] = np.cumsum(sums, axis=-1)[..., :-1]
    after = np.zeros_like(sums)
    after[..., :-1] = np.cumsum(sums[..., ::-1], axis=-1)[..., ::-1][..., 1:]
    left: Numbers = before + after
    return left


def _jackknife(thetas: Numbers, value: float) -> float:
    count = len(thetas)
    return (count - 1) / count * float(((thetas - value) ** 2).sum())


def devices_needed(estimate: Estimate, ratio: float) -> int | None:
    """Return how many devices show a ratio with 80 % power at 5 %, two-sided, if they ran both.

    The smallest G >= 3 at which the noncentral t of G - 1 degrees of freedom and noncentrality
    |log ratio| sqrt(G) / sd exceeds Student's quantile with that probability; None where the
    spread of the devices is not known, or a million do not suffice.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), chapter 2.
    """
    if estimate.method != "paired" or not estimate.error > 0:
        return None
    spread = estimate.error * math.sqrt(estimate.devices)

    def enough(count: int) -> bool:
        limit = float(stdtrit(count - 1, 0.975))
        shift = min(SHIFT_MAX, abs(math.log(ratio)) * math.sqrt(count) / spread)
        return 1 - float(nctdtr(count - 1, shift, limit)) >= POWER

    low, high = DEVICES_MIN - 1, DEVICES_MIN
    while not enough(high):
        low, high = high, high * 2
        if high > 1_000_000:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, so that one false claim in all is as rare as one.

    The i-th smallest of k becomes the largest of (k - j + 1) p_j over j <= i; NaN stays NaN and
    does not count.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979).

    >>> holm([0.01, 0.04, float("nan"), 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted
