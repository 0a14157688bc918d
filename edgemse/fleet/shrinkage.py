"""Small groups drawn towards the fleet: what a group's RMSE probably is, given all the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from edgemse.fleet.noise import Noise
from edgemse.fleet.spread import log_mse, spread
from edgemse.fleet.windows import Numbers

__all__ = ["GROUPS_MIN", "WORSE", "Shrunk", "shrunk"]

GROUPS_MIN = 4
"""Fewer groups cannot say how far to draw one of them."""
WORSE, SURE = 1.1, 0.95
"""A group is worse if its RMSE is over 1.1 times the fleet's with a probability over 0.95."""
NORMAL_975 = 1.959963984540054


class Shrunk(NamedTuple):
    """Of each group the RMSE, its 95 % interval, and whether it is worse than the fleet."""

    rmse: Numbers
    low: Numbers
    high: Numbers
    worse: NDArray[np.bool_]


def shrunk(noise: Noise) -> Shrunk:
    """Return what each group's RMSE probably is: empirical Bayes on log MSE.

    With G groups' y = log MSE, its sampling variance v (moderated over groups, so that a lucky one
    is not believed more), tau^2 between them and mu their weighted mean:

        B = (G - 3) / (G - 1) v / (v + tau^2)       posterior mean (1 - B) y + B mu
        posterior variance v (1 - (G - 1) / G B) + 2 / (G - 3) B^2 (y - mu)^2

    For GROUPS_MIN groups or more, each with an MSE above 0 that varies.

    Source: Morris, Parametric Empirical Bayes Inference, Journal of the American Statistical
    Association 78 (1983).
    """
    y, v = log_mse(noise)
    groups = len(y)
    assert groups >= GROUPS_MIN, groups
    tau2 = spread(noise).tau2
    w = 1 / (v + tau2)
    mu = float((w * y).sum() / w.sum())
    b = (groups - 3) / (groups - 1) * v / (v + tau2)
    centre = (1 - b) * y + b * mu
    variance = v * (1 - (groups - 1) / groups * b) + 2 / (groups - 3) * b**2 * (y - mu) ** 2
    sd = np.sqrt(variance)
    reach = NORMAL_975 * sd
    probable = ndtr((centre - mu - 2 * np.log(WORSE)) / sd)
    return Shrunk(
        np.exp(centre / 2),
        np.exp((centre - reach) / 2),
        np.exp((centre + reach) / 2),
        probable > SURE,
    )
