"""Do groups differ in MSE at all? An F test that stands unequal n, unequal tails, dependence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from edgemse.fleet.noise import Noise
from edgemse.fleet.windows import Numbers

__all__ = [
    "COUNT_MIN",
    "COUNT_MIN_OF_FEW",
    "FEW",
    "Homogeneity",
    "brown_forsythe",
    "homogeneity",
    "moderated",
    "testable",
]

COUNT_MIN = 10
"""Samples of a group below which its own variance says too little: sizes of 6 to 9 % at 5 %."""
FEW, COUNT_MIN_OF_FEW = 4, 100
"""With so few groups, without windows, each needs more: sizes of up to 21 % below."""


class Homogeneity(NamedTuple):
    """The test that all groups have one MSE; NaN where there is not enough data."""

    f: float
    df1: float
    df2: float
    p_value: float


NOTHING = Homogeneity(*[float("nan")] * 4)


def testable(noise: Noise) -> NDArray[np.bool_]:
    """Return which groups have enough samples for `homogeneity`; none where that cannot be said."""
    enough: NDArray[np.bool_] = noise.count >= COUNT_MIN
    if enough.sum() <= FEW and not noise.from_windows[enough].all():
        enough = noise.count >= COUNT_MIN_OF_FEW
    return enough & (not noise.too_close)


def moderated(noise: Noise) -> Numbers:
    """Return each group's n variance / mse^2, drawn towards that of the others.

    x = log(n S2 / X^2) has sampling variance s2 and a true spread om over groups; three rounds of
    moments give om and the mean m; then c2 = exp(B m + (1 - B) x) with B = s2 / (s2 + om).

    Source: Smyth, Linear Models and Empirical Bayes Methods, Statistical Applications in Genetics
    and Molecular Biology 3 (2004), here on the log scale.
    """
    x = np.log(noise.count * noise.variance / noise.mse**2)
    s2 = noise.log_variance
    w = 1 / s2
    for _ in range(3):
        g = w / w.sum()
        m = (g * x).sum()
        apart = (w * (x - m) ** 2).sum() - (w * (1 - g) * s2).sum()
        om = max(0.0, float(apart / (w * (1 - g)).sum()))
        w = 1 / (s2 + om)
    b = s2 / (s2 + om)
    found: Numbers = np.exp(b * m + (1 - b) * x)
    return found


def homogeneity(noise: Noise) -> Homogeneity:
    """Test that all groups have one MSE.

    With n_i samples, f_i = n_i / N, mse X_i of variance S2_i (nu_i degrees of freedom):

        theta = sum f X        F = sum n (X - theta)^2 / E        E = sum n (1 - f) S2

    whose expectation is E for any tails and any n. The degrees of freedom are Satterthwaite's, with
    variances vt that are moderated over groups, so that a group which by luck looks sure of itself
    does not rule them:

        vt = c2 theta^2 / n * sum(n S2) / sum(c2 X^2)
        V = sum n^2 vt^2 (1 - 2 f) + (sum f n S2)^2 - sum f^2 n^2 (S2^2 - vt^2)
        df1 = E^2 / V, held in [1, D - 1]        df2 = E^2 / sum(n^2 (1 - f)^2 vt^2 / nu)

    (Noise.uncertainty: where groups have the design effect of others, df2 has what that costs.)

    Four groups or fewer without windows cannot moderate: vt^2 = S2^2 / (1 + 2 / df), the test is
    made on X and on log X, and the larger p counts.

    Returns NaN with fewer than two groups, or where an MSE is 0 or squared errors do not vary. Who
    asks leaves out groups below COUNT_MIN (COUNT_MIN_OF_FEW) samples.

    Source: Brown and Forsythe, The Small Sample Behavior of Some Statistics Which Test the Equality
    of Several Means, Technometrics 16 (1974); degrees of freedom of Mehrotra, Communications in
    Statistics B 26 (1997).
    """
    n, x, s2 = noise.count, noise.mse, noise.variance
    if len(n) < 2 or not (np.all(x > 0) and np.all(s2 > 0)):
        return NOTHING
    if len(n) <= FEW and not noise.from_windows.all():
        shrink = np.sqrt(1 + 2 / noise.relative_freedom)
        raw = _of(noise, x, s2, s2 / shrink, noise.freedom)
        relative = s2 / x**2
        log = _of(noise, np.log(x), relative, relative / shrink, noise.relative_freedom)
        return max(raw, log, key=lambda found: found.p_value)
    c2 = moderated(noise)
    theta = (n * x).sum() / n.sum()
    vt = c2 * theta**2 / n * (n * s2).sum() / (c2 * x**2).sum()
    return _of(noise, x, s2, vt, noise.freedom)


def _of(noise: Noise, x: Numbers, s2: Numbers, vt: Numbers, nu: Numbers) -> Homogeneity:
    """Return the test, where groups without windows may have the design effect of the others."""
    n = noise.count
    parts = n * (1 - n / n.sum()) * vt
    return _tested(n, x, s2, vt, noise.uncertainty(parts, vt, nu))


def brown_forsythe(n: Numbers, x: Numbers, s2: Numbers, vt: Numbers, nu: Numbers) -> Homogeneity:
    """Return the test of `homogeneity` with its variances vt: of means x of n values each."""
    f = n / n.sum()
    return _tested(n, x, s2, vt, float((n**2 * (1 - f) ** 2 * vt**2 / nu).sum()))


def _tested(n: Numbers, x: Numbers, s2: Numbers, vt: Numbers, uncertainty: float) -> Homogeneity:
    f = n / n.sum()
    theta = (f * x).sum()
    between = (n * (x - theta) ** 2).sum()
    expected = (n * (1 - f) * s2).sum()
    spread = (
        (n**2 * vt**2 * (1 - 2 * f)).sum()
        + (f * n * s2).sum() ** 2
        - (f**2 * n**2 * (s2**2 - vt**2)).sum()
    )
    df1 = float(np.clip(expected**2 / spread, 1, len(n) - 1)) if spread > 0 else 1.0
    df2 = float(expected**2 / uncertainty)
    ratio = float(between / expected)
    return Homogeneity(ratio, df1, df2, float(fdtrc(df1, df2, ratio)))
