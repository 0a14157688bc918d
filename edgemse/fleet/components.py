"""How much of what differs between devices is real: ANOVA and variance components of summaries.

Nothing here needs a raw sample: a group's statistics carry all that is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.moments import Moments

if TYPE_CHECKING:
    from edgemse.fleet.noise import Noise

__all__ = ["Anova", "VarianceComponents", "anova", "components_of", "variance_components"]


class Anova(NamedTuple):
    """One-way analysis of variance of the errors; see `anova`."""

    f: float
    p_value: float
    df_between: int
    df_within: int
    ms_between: float
    ms_within: float
    var_between: float
    var_within: float
    var_between_unclamped: float


class VarianceComponents(NamedTuple):
    """How the MSE varies between devices; see `variance_components`."""

    devices: int
    mean_mse: float
    variance_of_mse: float
    sampling_variance: float
    tau2: float
    i2: float
    f: float
    df1: float
    df2: float
    p_value: float
    tau2_unclamped: float


def anova(groups: Mapping[Any, ErrorStats]) -> Anova:
    """Compare the mean errors of groups: does a device's bias differ from another's?

    With k groups of n_i samples, N in all, mean errors b_i and b over all, and n0 = (N - sum n_i^2
    / N) / (k - 1):

        ms_between = sum n_i (b_i - b)^2 / (k - 1)      df_between = k - 1
        ms_within  = sum m2_i / (N - k)                 df_within  = N - k
        f = ms_between / ms_within                      p_value = P(F(k - 1, N - k) >= f)
        var_within = ms_within      var_between_unclamped = (ms_between - ms_within) / n0
        var_between = max(0, var_between_unclamped)

    The p-value assumes independent samples: errors that follow each other make it too small.
    Groups without a sample are left out. Under weights, b_i and m2_i / n_i are the weighted mean
    and variance. F assumes equal variances; unequal ones make the p-value too small or too large.

    Returns:
        Figures in the errors' unit squared; NaN where there are fewer than two groups, or no
        degrees of freedom within. f is infinite if only the means differ.

    Numerics: sums are exact rational arithmetic over the compensated moments, rounded once.

    Source: Searle, Casella, McCulloch, Variance Components, 1992, chapter 3.
    """
    moments = [stats.moments() for stats in groups.values() if stats.count]
    counts = [each.count for each in moments]
    total, k = sum(counts), len(moments)
    df_between, df_within = max(0, k - 1), max(0, total - k)
    if not df_between or not df_within:
        nan = math.nan
        return Anova(nan, nan, df_between, df_within, nan, nan, nan, nan, nan)
    means, scale = _scaled([(each.mean, each.mean_lo) for each in moments])
    sums = [n * mean for n, mean in zip(counts, means, strict=True)]
    squares = sum(a * b for a, b in zip(sums, means, strict=True))
    ms_between = Fraction(squares * total - sum(sums) ** 2, total * df_between * scale * scale)
    within, scale = _scaled(list(map(_squares_within, moments)))
    ms_within = Fraction(sum(within), df_within * scale)
    n0 = Fraction(total * total - sum(n * n for n in counts), total * df_between)
    f = _ratio(ms_between, ms_within)
    return Anova(
        f,
        _f_tail(f, df_between, df_within),
        df_between,
        df_within,
        float(ms_between),
        float(ms_within),
        float(max(Fraction(0), ms_between - ms_within) / n0),
        float(ms_within),
        float((ms_between - ms_within) / n0),
    )


def _scaled(pairs: Sequence[tuple[float, float]]) -> tuple[list[int], int]:
    """Return sums of two doubles as integers, times a power of two, and that power.

    Sums and products of such are exact, at a tenth of what fractions cost.
    """
    parts = [(high.as_integer_ratio(), low.as_integer_ratio()) for high, low in pairs]
    scale = max(max(high[1], low[1]) for high, low in parts)
    return [h * (scale // d) + i * (scale // e) for (h, d), (i, e) in parts], scale


def _squares_within(moments: Moments) -> tuple[float, float]:
    if (moments.weight, moments.weight_lo) == (moments.count, 0.0):
        return moments.m2, moments.m2_lo
    # Rounded, because exact quotients of many groups would grow without end.
    m2 = Fraction(moments.m2) + Fraction(moments.m2_lo)
    weight = Fraction(moments.weight) + Fraction(moments.weight_lo)
    return float(m2 * moments.count / weight), 0.0


def _ratio(above: Fraction, below: Fraction) -> float:
    if below:
        return float(above / below)
    return math.inf if above else math.nan


def _f_tail(f: float, df_between: int, df_within: int) -> float:
    if math.isnan(f):
        return math.nan
    from scipy.special import fdtrc  # only for inference; scipy.stats would take a second

    return float(fdtrc(df_between, df_within, f))


def variance_components(devices: Mapping[Any, ErrorStats]) -> VarianceComponents:
    """Split the spread of the devices' MSE into sampling noise and real differences.

    From states alone, which assumes samples that do not depend on each other: errors that follow
    each other in time make `sampling_variance` and `p_value` too small. The question `variance`
    sees them in the windows; this function cannot. Over the D devices with at least two samples,
    with mse_i and its standard error se_i:

        mean_mse = mean(mse_i)      variance_of_mse = sum (mse_i - mean_mse)^2 / (D - 1)
        sampling_variance = mean(se_i^2)
        tau2_unclamped = variance_of_mse - sampling_variance    (Hedges and Olkin: unbiased)
        tau2 = max(0, tau2_unclamped)       i2 = tau2 / variance_of_mse

    tau2 is the variance between devices on the scale of MSE; i2 the share of the observed spread
    that is real at this number of samples: how far to trust a ranking, not how large differences
    are. Whether there are any at all is said by f, df1, df2 and p_value, the test of
    edgemse.fleet.homogeneity over devices with 10 samples (100 where there are four devices or
    fewer).

    Returns:
        Figures of MSE to the first or second power; NaN where D < 2. f and p_value are NaN too
        where fewer than two devices have enough samples, one is without any error, or its squared
        errors do not vary.

    Source: Hedges and Olkin 1985, chapter 9, for tau2.
    """
    from edgemse.fleet.noise import noise_of  # only for inference: numpy and scipy take 0.2 s

    return components_of(noise_of(devices))


def components_of(noise: Noise) -> VarianceComponents:
    """Return the components of groups whose noise is known; see `variance_components`."""
    from edgemse.fleet.homogeneity import homogeneity, testable

    mse = [float(each) for each in noise.mse]
    count = len(mse)
    if count < 2:
        return VarianceComponents(count, mse[0] if mse else math.nan, *[math.nan] * 9)
    mean_mse = math.fsum(mse) / count
    variance = math.fsum((each - mean_mse) ** 2 for each in mse) / (count - 1)
    effect = 1.0 if math.isnan(noise.design_effect) else noise.design_effect
    sampling = effect * math.fsum(noise.independent) / count
    tau2 = max(0.0, variance - sampling)
    test = homogeneity(noise.taken(testable(noise)))
    return VarianceComponents(
        count,
        mean_mse,
        variance,
        sampling,
        tau2,
        tau2 / variance if variance else 0.0,
        *test,
        variance - sampling,
    )
