"""The log RMSE of one version, how sure it is, and how far it is from a baseline or a limit.

A level is an Estimate whose value is a log RMSE; a gap is the difference of two.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtri, ndtr, stdtrit

from edgemse.fleet.arms import COUNT_MIN, DEVICES_MIN, Arm, Estimate, jackknifed, usable
from edgemse.fleet.noise import WINDOWS_MIN, WORTH_MIN, freedom
from edgemse.fleet.spread import root
from edgemse.fleet.windows import Ewc, Numbers, Windows, ewc, following
from edgemse.stats.error_stats import ErrorStats

__all__ = [
    "exactly",
    "gap",
    "log_normal_bound",
    "of_devices",
    "of_state",
    "of_windows",
    "relative",
    "wider",
]

NAN = math.nan
UPPER = 0.95
QUANTILES = 200


def exactly(rmse: float) -> Estimate:
    """Return the level of a figure that is taken as it is: a limit, or a bare baseline."""
    return Estimate(math.log(rmse), 0.0, math.inf, 0, "exact")


def of_state(stats: ErrorStats, method: str = "state") -> Estimate:
    """Return the level of independent samples; not known under 20 of them or without an error.

    The standard error of log RMSE is half of the MSE's coefficient of variation, its degrees of
    freedom are Satterthwaite's (edgemse.fleet.noise.freedom).
    """
    if stats.count < COUNT_MIN or not stats.mse > 0:
        return _unknown(stats)
    error = stats.mse_standard_error / stats.mse / 2
    return Estimate(math.log(stats.rmse), error, freedom(stats), 0, method)


def of_windows(stats: ErrorStats, windows: Windows | None) -> Estimate:
    """Return the level by the windows of these devices; it speaks of no others.

    Windows are those of all devices together, so that what these have in common at a time (the
    weather) is in their scatter: its variance is by equal-weighted cosines (windows.ewc), which
    hold for windows that follow each other, and never taken smaller than independent samples would
    make it. Not known under ten windows, or where they follow each other so closely that they are
    worth fewer than 7.5 independent ones (noise.WORTH_MIN).
    """
    single = of_state(stats, "windows")
    found = relative(windows)
    if not single.method or found is None:
        return _unknown(stats)
    return wider(single, single.measured(math.sqrt(found.variance) / 2, found.freedom, "windows"))


def relative(windows: Windows | None) -> Ewc | None:
    """Return the variance of the mean of windows to its square; None: not enough data."""
    if windows is None or len(windows.mse) < WINDOWS_MIN:
        return None
    count = len(windows.mse)
    r = max(following([windows.mse]) - count**-0.5, 0.0)
    mean = windows.squares.sum() / windows.weight.sum()
    if not (count * (1 - r) / (1 + r) >= WORTH_MIN and mean > 0):
        return None
    found = ewc(windows.mse, windows.weight)
    return Ewc(found.variance / mean**2, found.freedom)


def of_devices(stats: ErrorStats, arm: Arm) -> Estimate:
    """Return the level of which these devices are a sample: what others like them would have.

    A jackknife over devices of the RMSE over all samples (arms.jackknifed): nothing is assumed of
    what happens inside a device. A mean of few MSE is more often below the truth than above it,
    because differences are skewed; so the error is at least such that the one-sided 95 % upper
    bound is that of log-normal differences (log_normal_bound). Not known under three devices with
    20 samples and an error.
    """
    devices = usable(arm)
    if len(devices) < DEVICES_MIN:
        return _unknown(stats)
    found = jackknifed(devices)
    weight = np.array([each.weight for each in devices.values()])
    bound = log_normal_bound(np.log([each.mse for each in devices.values()]), weight) / 2
    error = max(found.error, (bound - found.value) / float(stdtrit(found.freedom, UPPER)))
    return Estimate(math.log(stats.rmse), error, found.freedom, len(devices), "devices")


def log_normal_bound(y: Numbers, weight: Numbers) -> float:
    """Return the one-sided 95 % upper bound of the log of the mean of exp(y), y normal.

    The 95 % quantile of T = ybar - Z s / sqrt(U n) + s^2 / (2 U), Z normal and U chi-square of
    n - 1 degrees of freedom over n - 1 (200 quantiles stand for it): a generalised interval. Under
    weights ybar and s are weighted, and n is the effective number (sum w)^2 / sum w^2, at least 2.

    Source: Krishnamoorthy and Mathew, Inferences on the means of lognormal distributions using
    generalized p-values and generalized confidence intervals, Journal of Statistical Planning and
    Inference 115 (2003).
    """
    share = weight / weight.sum()
    n = max(2.0, 1 / float((share**2).sum()))
    centre = float(share @ y)
    variance = float(share @ (y - centre) ** 2) * n / (n - 1)
    if not variance > 0:
        return centre
    u = chdtri(n - 1, (np.arange(QUANTILES) + 0.5) / QUANTILES) / (n - 1)
    means, deviations = centre + variance / (2 * u), np.sqrt(variance / (u * n))

    def missing(above: float) -> float:
        return UPPER - float(ndtr((centre + above - means) / deviations).mean())

    return centre + root(missing)


def wider(one: Estimate, other: Estimate) -> Estimate:
    """Return the one with the wider 95 % interval; one that is not known gives way."""
    if not one.method or not other.method:
        return one if one.method else other
    reach = [float(stdtrit(each.freedom, 0.975)) * each.error for each in (one, other)]
    return one if reach[0] >= reach[1] else other


def gap(level: Estimate, base: Estimate) -> Estimate:
    """Return the log ratio of an RMSE to a baseline's or a limit.

    Variances add; degrees of freedom are Welch's. Not known where the level is not; a baseline
    whose own level is not known (under 20 samples) leaves it unknown too.

    Source: Welch, The generalization of Student's problem, Biometrika 34 (1947).
    """
    value = level.value - base.value
    if not level.method or not base.method:
        return Estimate(value, NAN, NAN, level.devices, "")
    parts = np.array([level.error, base.error]) ** 2
    variance = float(parts.sum())
    below = float((parts**2 / np.array([level.freedom, base.freedom])).sum())
    degrees = variance**2 / below if below else math.inf
    return Estimate(value, math.sqrt(variance), degrees, level.devices, level.method)


def _unknown(stats: ErrorStats) -> Estimate:
    value = math.log(stats.rmse) if stats.count and stats.mse > 0 else NAN
    return Estimate(value, NAN, NAN, 0, "")
