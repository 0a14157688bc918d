"""How much do groups differ? The variance of log MSE between them, and its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import fdtrc, stdtrit

from edgemse.fleet.homogeneity import moderated
from edgemse.fleet.noise import Noise
from edgemse.fleet.windows import Numbers

__all__ = ["KURTOSIS_GROUPS", "Profile", "Spread", "log_mse", "root", "spread"]

KURTOSIS_GROUPS = 30
"""From so many groups the interval needs no shape of the differences: it measures their tails."""
HIGHEST = 1e4
"""Of a variance of log MSE: a factor of e^100 from one device to another."""


class Spread(NamedTuple):
    """tau^2, the variance of log MSE between groups, with its 95 % interval, clamped at 0."""

    tau2: float
    low: float
    high: float
    method: str
    unclamped: float
    """The moment estimate var(log MSE) - mean(sampling variance), which may be below 0."""


def log_mse(noise: Noise) -> tuple[Numbers, Numbers]:
    """Return each group's log MSE without its bias, and a sampling variance free of its luck.

    vm = c2 / n * sum(n S2 / X^2) / sum(c2) with the moderated c2; y = log X + vm / 2.
    """
    relative = noise.count * noise.variance / noise.mse**2
    c2 = moderated(noise)
    vm: Numbers = c2 / noise.count * relative.sum() / c2.sum()
    return np.log(noise.mse) + vm / 2, vm


def spread(noise: Noise) -> Spread:
    """Estimate the variance of log MSE between groups.

    For a trial t, with vw = mean(n S2 / X^2) / n: w = 1 / (vw + t), g = w / sum w, mu = sum g y,
    B = vw / (vw + t), and the variances taken where the group's true MSE probably is,
    v = S2 / exp(2 (B mu + (1 - B) y)):

        S = sum w (y - mu)^2        M = sum w (1 - g) (v + t)

    t with S = M is the estimate (Paule and Mandel 1982); where P(F > S / M) is .025 and .975 are
    the limits (the Q-profile of Viechtbauer, Statistics in Medicine 26, 2007), with Satterthwaite's
    degrees of freedom as in `homogeneity`. It assumes that log MSE scatters normally between
    groups. From 30 groups the limits come from the kurtosis of what is seen instead:
    s_y^2 exp(-+ t cv) - mean(v), cv and t those of the mean of (y - ybar)^2 (Bonett 2006).

    NaN where there are fewer than two groups, or one without errors or without spread.
    """
    if len(noise.count) < 2 or not (np.all(noise.mse > 0) and np.all(noise.variance > 0)):
        nan = float("nan")
        return Spread(nan, nan, nan, "", nan)
    y, vm = log_mse(noise)
    vw = float(np.mean(noise.count * noise.variance / noise.mse**2)) / noise.count

    def true(b: Numbers, mu: float) -> Numbers:
        variances: Numbers = noise.variance / np.exp(2 * (b * mu + (1 - b) * y))
        return variances

    profile = Profile(y, vw, vm, true, noise.uncertainty)
    tau2 = profile.estimate()
    v = profile.at(tau2)[2]
    unclamped = float(y.var(ddof=1) - v.mean())
    if len(y) >= KURTOSIS_GROUPS:
        low, high = _kurtosis_interval(y)
        limits = [max(0.0, each - float(v.mean())) for each in (low, high)]
        return Spread(tau2, min(limits[0], tau2), max(limits[1], tau2), "kurtosis", unclamped)
    low, high = profile.limits()
    return Spread(tau2, min(low, tau2), max(high, tau2), "q-profile", unclamped)


@dataclass(frozen=True, slots=True)
class Profile:
    """The weighted squares of y as a function of a trial variance between groups; see `spread`."""

    y: Numbers
    vw: Numbers
    """Sampling variances that give the weights."""
    vm: Numbers
    """Sampling variances that are free of the luck of each, for degrees of freedom."""
    true: Callable[[Numbers, float], Numbers]
    """The variances v, from the share B of each group's own y that is noise, and the mean mu."""
    uncertainty: Callable[[Numbers, Numbers], float]
    """Of a sum of parts that are proportional to variances: noise.Noise.uncertainty."""

    def at(self, t: float) -> tuple[float, float, Numbers]:
        """Return S, M and the variances v of a trial."""
        w = 1 / (self.vw + t)
        g = w / w.sum()
        mu = float((g * self.y).sum())
        v = self.true(self.vw / (self.vw + t), mu)
        return float((w * (self.y - mu) ** 2).sum()), float((w * (1 - g) * (v + t)).sum()), v

    def tail(self, t: float) -> float:
        """Return P(F > S / M) of a trial."""
        s, m, v = self.at(t)
        w = 1 / (self.vw + t)
        g = w / w.sum()
        vs = self.vm * (w * (1 - g) * v).sum() / (w * (1 - g) * self.vm).sum()
        each = w * (vs + t)
        square = (each**2 * (1 - 2 * g)).sum() + (g * each).sum() ** 2
        df1 = float(np.clip(m**2 / square, 1, len(self.y) - 1))
        df2 = m**2 / self.uncertainty(w * (1 - g) * vs, vs)
        return float(fdtrc(df1, df2, s / m))

    def estimate(self) -> float:
        """Return the trial at which S = M; 0 where there is none."""
        return root(lambda t: self.at(t)[0] - self.at(t)[1])

    def limits(self) -> tuple[float, float]:
        """Return the trials at which the tail is .025 and .975."""
        return root(lambda t: 0.025 - self.tail(t)), root(lambda t: 0.975 - self.tail(t))


def root(falling: Callable[[float], float]) -> float:
    """Return where a falling function of t >= 0 meets 0; 0.0 if it is never above.

    By halving, to 1e-12 of the result: the functions here are smooth but costly to prove smooth.
    """
    if not falling(0.0) > 0:
        return 0.0
    low, high = 0.0, 1e-6
    while falling(high) > 0 and high < HIGHEST:
        low, high = high, high * 4
    for _ in range(60):
        middle = (low + high) / 2
        if middle in (low, high) or high - low < 1e-12 * high:
            break
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _kurtosis_interval(y: Numbers) -> tuple[float, float]:
    """Return the 95 % interval of Var(y), of any shape: log scale, Student's t by Satterthwaite."""
    n = len(y)
    u = (y - y.mean()) ** 2
    mean, centred = u.mean(), u - u.mean()
    square = (centred**2).mean()
    if not square > 0:
        return float(y.var(ddof=1)), float(y.var(ddof=1))
    kappa = (centred**4).mean() / square**2
    df = float(np.clip(2 * n / (kappa - 1 + 2 / (n - 1)), 2, n - 1))
    reach = float(stdtrit(df, 0.975)) * np.sqrt(square / (n - 1)) / mean
    return float(y.var(ddof=1) * np.exp(-reach)), float(y.var(ddof=1) * np.exp(reach))
