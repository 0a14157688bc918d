"""Why do groups differ? The share of the variance between them that an attribute explains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, fdtrc, ncfdtr, stdtrit

from edgemse.fleet.homogeneity import brown_forsythe
from edgemse.fleet.spread import root
from edgemse.fleet.windows import Numbers

__all__ = ["FREEDOM_MIN", "LEVEL_MIN", "Share", "share_explained"]

DRAWS = 999
LEVEL_MIN = 2
"""Groups of a value below which it is left out: one cannot say how much groups of it differ."""
FREEDOM_MIN = 4
"""Groups less values below which nothing is said."""
FLOOR = 1e-6
"""Of a variance of log MSE: a thousandth of RMSE."""
DECIDED = 0.05

Places = NDArray[np.int64]


class Share(NamedTuple):
    """The share of the variance between groups, its 95 % interval, and p of "none"."""

    share: float
    low: float
    high: float
    p_value: float


class _Sums(NamedTuple):
    """What the estimate needs, of all groups; or, in arrays, of all but each one."""

    within: Numbers
    """QE, the weighted squares about each value's mean."""
    total: Numbers
    """QT, about the mean of all."""
    a: Numbers
    av: Numbers
    weight: Numbers
    groups: int

    def parts(self, values: int) -> tuple[Numbers, Numbers]:
        """Return Bt, between the values, and tw, between groups of one value; not below 0."""
        within = np.maximum(0, (self.within - self.av) / self.a)
        chance = (values - 1) * self.within / (self.groups - values)
        return np.maximum(0, (self.total - self.within - chance) / self.weight), within


def share_explained(y: Numbers, vm: Numbers, value: Places, rng: np.random.Generator) -> Share:
    """Return how much of the variance of log MSE lies between the values of an attribute.

    With D groups' y = log MSE, their sampling variances vm (edgemse.fleet.spread.log_mse) and G
    values, w = 1 / (vm + t) and t such that QE = D - G (0 if it never is):

        a = w (1 - w / W_g)        tw = max(0, (QE - sum a vm) / sum a)
        Bt = max(0, QT - QE - (G - 1) QE / (D - G)) / sum w        share = Bt / (Bt + tw)

    The interval is that of the noncentral F of Knapp and Hartung's statistic; where that is under
    5 %, joined with a jackknife over groups of log(Bt / tw), because one alone is too short for
    skewed differences. The p-value is the larger of two: a permutation of the values among groups,
    and Brown and Forsythe's test on y, which stands unequal spreads.

    Each value must have two groups or more, and D - G be 4 or more; there must be two values.

    Source: Knapp and Hartung, Improved tests for a random effects meta-regression, Statistics in
    Medicine 22 (2003); Viechtbauer, Accounting for heterogeneity via random-effects models,
    Journal of Educational and Behavioral Statistics 30 (2005).
    """
    values, count = int(value.max()) + 1, len(y)
    freedom = count - values

    def within(w: Numbers) -> float:
        return float((w * (y - _means(w, y, value)[value]) ** 2).sum())

    t = root(lambda trial: within(1 / (vm + trial)) - freedom)
    w = 1 / (vm + t)
    group_weight = np.bincount(value, w)[value]
    of_value, of_all = _means(w, y, value)[value], float((w * y).sum() / w.sum())
    a = w * (1 - w / group_weight)
    sums = _Sums(
        np.array(within(w)),
        np.array((w * (y - of_all) ** 2).sum()),
        np.array(a.sum()),
        np.array((a * vm).sum()),
        np.array(w.sum()),
        count,
    )
    between, rest = (float(each) for each in sums.parts(values))
    share = between / (between + rest) if between > 0 else 0.0
    p_value = max(_permuted(y, vm, value, rng), _brown_forsythe(y, value))
    statistic = float((sums.total - sums.within) / (values - 1) / (sums.within / freedom))
    low, high = (
        limit / (limit + max(rest, FLOOR)) if limit > 0 else 0.0
        for limit in _noncentral(statistic, values - 1, freedom, float(sums.weight))
    )
    if fdtrc(values - 1, freedom, statistic) < DECIDED:
        left = _Sums(
            sums.within - w * (y - of_value) ** 2 / (1 - w / group_weight),
            sums.total - w * (y - of_all) ** 2 / (1 - w / sums.weight),
            sums.a - w,
            sums.av - w * vm,
            sums.weight - w,
            count - 1,
        )
        logs = np.log(np.maximum(left.parts(values), FLOOR))
        ratios = logs[0] - logs[1]
        spread = math.sqrt((count - 1) / count * float(((ratios - ratios.mean()) ** 2).sum()))
        reach = float(stdtrit(freedom, 0.975)) * spread
        centre = math.log(max(between, FLOOR) / max(rest, FLOOR))
        low, high = min(low, float(expit(centre - reach))), max(high, float(expit(centre + reach)))
    return Share(share, min(low, share), max(high, share), p_value)


def _means(w: Numbers, y: Numbers, value: Places) -> Numbers:
    means: Numbers = np.bincount(value, w * y) / np.bincount(value, w)
    return means


def _noncentral(statistic: float, df1: int, df2: int, scale: float) -> Sequence[float]:
    """Return the noncentralities over `scale` at which P(F <= statistic) is .975 and .025."""
    return [
        root(lambda x, p=p: float(ncfdtr(df1, df2, x * scale, statistic)) - p)  # type: ignore[misc]
        for p in (0.975, 0.025)
    ]


def _permuted(y: Numbers, vm: Numbers, value: Places, rng: np.random.Generator) -> float:
    """Return p of sum_g (sum w (y - ybar))^2 / W_g when values are dealt out anew."""
    w = 1 / (vm + max(0.0, float(y.var(ddof=1) - vm.mean())))
    pull = w * (y - (w * y).sum() / w.sum())
    size = int(value.max()) + 1
    found = []
    for draw in range(DRAWS + 1):
        dealt = rng.permutation(value) if draw else value
        found.append((np.bincount(dealt, pull, size) ** 2 / np.bincount(dealt, w, size)).sum())
    hits = int((np.array(found[1:]) >= found[0] * (1 - 1e-12)).sum())
    return (1 + hits) / (1 + DRAWS)


def _brown_forsythe(y: Numbers, value: Places) -> float:
    n = np.bincount(value).astype(np.float64)
    mean = np.bincount(value, y) / n
    spread = np.bincount(value, (y - mean[value]) ** 2) / (n - 1)
    if not spread.sum() > 0:
        return 0.0
    return brown_forsythe(n, mean, spread / n, spread / n, n - 1).p_value
