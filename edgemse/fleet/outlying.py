"""Which groups stand out: unusual in this fleet, or materially worse than its middle."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr

from edgemse.fleet.noise import Noise
from edgemse.fleet.spread import log_mse, root
from edgemse.fleet.windows import Numbers

__all__ = ["GROUPS_MIN", "MATERIAL", "Outlying", "discoveries", "outlying"]

FALSE_SHARE = 0.05
"""At most this share of the flags is false (Benjamini and Hochberg's q)."""
MATERIAL = 1.2
"""An RMSE that is less than so many times the fleet's middle is not worth a visit."""
GROUPS_MIN = 5
"""Groups from which "unusual" has a meaning."""
OUTER = 0.1
"""Of the scores, on each side, that are drawn in before the spread is estimated."""
ROUNDS = 3


class Outlying(NamedTuple):
    """Of each group: RMSE to the fleet's middle, and the two flags."""

    ratio: Numbers
    unusual: NDArray[np.bool_] | None
    """None: too few groups."""
    worse: NDArray[np.bool_]


def outlying(noise: Noise) -> Outlying:
    """Flag groups on log RMSE, y = log(mse) / 2, with v = max(own cv^2, moderated) / 4.

    *Unusual*: worse than the others' spread explains. Scores are drawn in to the 10 % and 90 %
    quantiles (Spiegelhalter et al., JRSS-A 175, 2012), the spread tau^2 is estimated by Paule and
    Mandel; then three rounds of flagging by Student's t with D - 1 degrees of freedom of
    (y - mu) / sqrt(v + tau^2) and of fitting to those that are not flagged.

    *Materially worse*: more than 1.2 times the median, whatever the spread (McCarthy and Smyth,
    Bioinformatics 25, 2009). Both one-sided, with a false discovery rate of 5 % (Benjamini and
    Hochberg, JRSS-B 57, 1995). For groups with an MSE above 0.
    """
    y, vm = log_mse(noise)
    y = y / 2
    v = np.maximum(noise.variance / noise.mse**2, vm) / 4
    middle = float(np.median(y))
    worse = discoveries(1 - ndtr((y - middle - np.log(MATERIAL)) / np.sqrt(v)))
    unusual = _unusual(y, v, middle) if len(y) >= GROUPS_MIN else None
    return Outlying(noise.mse**0.5 / np.exp(np.median(np.log(noise.mse)) / 2), unusual, worse)


def _unusual(y: Numbers, v: Numbers, middle: float) -> NDArray[np.bool_]:
    scores = (y - middle) / np.sqrt(v)
    drawn_in = np.clip(scores, *np.quantile(scores, [OUTER, 1 - OUTER]))
    mu, tau2 = _paule_mandel(middle + drawn_in * np.sqrt(v), v)
    flagged = np.zeros(len(y), dtype=bool)
    for _ in range(ROUNDS):
        flagged = discoveries(1 - stdtr(len(y) - 1, (y - mu) / np.sqrt(v + tau2)))
        if flagged.sum() > len(y) - 2:
            break
        mu, tau2 = _paule_mandel(y[~flagged], v[~flagged])
    return flagged


def _paule_mandel(y: Numbers, v: Numbers) -> tuple[float, float]:
    """Return the mean and the variance between groups at which Q equals its expectation."""

    def centre(t: float) -> float:
        w = 1 / (v + t)
        return float((w * y).sum() / w.sum())

    def excess(t: float) -> float:
        return float(((y - centre(t)) ** 2 / (v + t)).sum()) - (len(y) - 1)

    tau2 = root(excess)
    return centre(tau2), tau2


def discoveries(p_values: Numbers) -> NDArray[np.bool_]:
    """Return what may be called found with a false discovery rate of 5 %."""
    order = np.argsort(p_values)
    limits = FALSE_SHARE * np.arange(1, len(p_values) + 1) / len(p_values)
    passed = np.flatnonzero(p_values[order] <= limits)
    found = np.zeros(len(p_values), dtype=bool)
    if len(passed):
        found[order[: passed[-1] + 1]] = True
    return found
