"""Bounds that hold however often one looks: planned looks, and a confidence sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit

from edgemse.fleet.arms import Estimate, ratio_of
from edgemse.fleet.windows import Numbers

__all__ = ["FOLLOWING_MAX", "Held", "level", "sequence"]

FOLLOWING_MAX = 0.5
"""Lag-1 autocorrelation of windows up to which looks fool in 7 % or less at 5 % (simulated)."""
WINDOWS_MIN = 72
"""Windows from which a confidence sequence holds (simulated): three days of hours."""
TIGHTEST = 168
"""Windows at which the sequence is narrowest: a week of hours."""
INFLATION_LEVEL = 0.0025
FARTHEST = 4.0
"""Bounds are about 2; this one is 12 standard deviations away after a tenth of the looks."""
NODES = 256
"""Of Gauss and Legendre: bounds come out to 1e-6 up to 366 looks."""


@cache
def level(looks: int, look: int, alpha: float = 0.05) -> float:
    """Return the two-sided p under which the k-th of K evenly spaced looks may claim something.

    The chance of a claim without a difference, over all looks up to the share t = k / K of the
    data, is held at alpha(t) = 4 (1 - Phi(z / sqrt t)), z = Phi^-1(1 - alpha / 4): next to nothing
    early, alpha at the end. Bounds by integrating the density of a Brownian motion that has not
    crossed one before.

    Source: Lan and DeMets, Biometrika 70 (1983), with O'Brien and Fleming's shape; the integration
    of Armitage, McPherson and Rowe, JRSS A 132 (1969).

    >>> [round(float(-ndtri(level(5, k) / 2)), 3) for k in range(1, 6)]
    [4.877, 3.357, 2.68, 2.29, 2.031]
    """
    z, sd = -float(ndtri(alpha / 4)), math.sqrt(1 / looks)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    # On the scale of the motion, where every bound is near z.
    bound = min(FARTHEST, -float(ndtri(_spent(z, 1 / looks) / 2)) * sd)
    at = bound * nodes
    mass = weights * bound * np.exp(-((at / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))
    for k in range(2, look + 1):
        wanted = _spent(z, k / looks) - _spent(z, (k - 1) / looks)
        bound = float(brentq(_excess, 0.1, FARTHEST, (at, mass, sd, wanted), xtol=1e-10))
        steps = (bound * nodes[:, None] - at[None, :]) / sd
        density = np.exp(-(steps**2) / 2) @ mass / (sd * math.sqrt(2 * math.pi))
        at, mass = bound * nodes, weights * bound * density
    return 2 * float(ndtr(-bound / math.sqrt(look / looks)))


def _spent(z: float, share: float) -> float:
    return 4 * float(ndtr(-z / math.sqrt(share)))


def _excess(bound: float, at: Numbers, mass: Numbers, sd: float, wanted: float) -> float:
    """Return by how much the chance of crossing a bound for the first time exceeds what it may."""
    return float(mass @ (ndtr((at - bound) / sd) + ndtr((-bound - at) / sd))) - wanted


@dataclass(frozen=True, slots=True)
class Held:
    """What holds of a log ratio however often one looks."""

    low: float
    """95 % interval of the ratio, for all looks at once."""
    high: float
    p_value: float
    """Under 5 % if 1 is outside; of "no difference", for all looks at once."""


def sequence(found: Estimate, alpha: float = 0.05) -> Held:
    """Return the confidence sequence of a comparison by windows; NaN under 72 of them.

    With t windows, se their standard error with nu degrees of freedom (equal-weighted cosines),
    s = se sqrt(t) t_nu(0.0025) / z(0.0025) and rho^2 = (-2 log a + log(-2 log a) + 1) / 168:

        value -+ s sqrt(2 (t rho^2 + 1) / (t^2 rho^2) log(sqrt(t rho^2 + 1) / a))

    holds at all t at once. The p-value is the smallest a whose interval leaves 0 out, with the rho
    of `alpha`.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and
    asymptotic confidence sequences, Annals of Statistics 52 (2024).
    """
    t = found.windows
    if found.method != "windows" or t < WINDOWS_MIN or not found.error > 0:
        return Held(math.nan, math.nan, math.nan)
    inflated = float(stdtrit(found.freedom, INFLATION_LEVEL)) / float(ndtri(INFLATION_LEVEL))
    s = found.error * math.sqrt(t) * inflated
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha)) + 1) / TIGHTEST
    grown = t * rho2 + 1
    reach = s * math.sqrt(2 * grown / (t * t * rho2) * math.log(math.sqrt(grown) / alpha))
    exponent = (found.value / s) ** 2 * t * t * rho2 / (2 * grown)
    p_value = min(1.0, math.sqrt(grown) * math.exp(-exponent))
    low, high = found.value - reach, found.value + reach
    return Held(ratio_of(low), ratio_of(high), p_value)
