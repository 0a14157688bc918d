"""Losses of one sample, beside the squared error: formula, domain and source of each.

A function takes finite numbers and returns the loss, never negative, or NaN outside its domain.
`LOSSES` names them for `LossStats`, with the one parameter that some have.

Huber, MAPE, SMAPE, pinball and Brier are made of single IEEE operations: the same bits on every
machine. RMSLE and log loss call the C library's logarithm, whose last bit may differ between
libraries.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

__all__ = [
    "LOSSES",
    "Loss",
    "absolute_percentage",
    "brier",
    "huber",
    "log_loss",
    "pinball",
    "squared_log",
    "symmetric_percentage",
]

NAN = math.nan


def huber(y_true: float, y_pred: float, delta: float) -> float:
    """e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) beyond: squared near 0, linear far off.

    `delta` has the unit of y, the loss its square. Domain: every number.

    Source: P. J. Huber, Robust estimation of a location parameter, Ann. Math. Stat. 35 (1964).

    Examples:
        >>> huber(0.0, 0.5, 1.0), huber(0.0, -3.0, 1.0)
        (0.125, 2.5)
    """
    error = abs(y_pred - y_true)
    return 0.5 * error * error if error <= delta else delta * (error - 0.5 * delta)


def absolute_percentage(y_true: float, y_pred: float, floor: float) -> float:
    """|e| / max(|y_true|, floor), a share: 0.1 is 10 %. Near zero `floor`, in units of y, divides.

    No sample is left out, and none weighs more than |e| / floor. Domain: every number.

    Source: R. J. Hyndman, A. B. Koehler, Another look at measures of forecast accuracy,
    Int. J. Forecasting 22 (2006), on why a percentage needs a rule near zero.

    Examples:
        >>> absolute_percentage(10.0, 9.0, 1.0), absolute_percentage(0.0, 0.5, 1.0)
        (0.1, 0.5)
    """
    return abs(y_pred - y_true) / max(abs(y_true), floor)


def symmetric_percentage(y_true: float, y_pred: float) -> float:
    """2 |e| / (|y_true| + |y_pred|), a share from 0 to 2: 0.1 is 10 %; 0 where both are 0.

    Of one size too high or too low it makes different figures, in spite of its name. Domain: every
    number.

    Source: S. Makridakis, Accuracy measures: theoretical and practical concerns, Int. J.
    Forecasting 9 (1993); River's `metrics.SMAPE` is the same in per cent.

    Examples:
        >>> symmetric_percentage(1.0, 3.0), symmetric_percentage(0.0, 0.5)
        (1.0, 2.0)
        >>> symmetric_percentage(0.0, 0.0)
        0.0
    """
    size = abs(y_true) + abs(y_pred)
    return 2.0 * abs(y_pred - y_true) / size if size else 0.0


def squared_log(y_true: float, y_pred: float) -> float:
    """(ln(1 + y_pred) - ln(1 + y_true))^2, without a unit. Domain: both above -1.

    Computed as ln(1 + |e| / (1 + the smaller))^2, which cancels nothing: a difference of two
    logarithms loses all digits where prediction and label agree.

    Source: scikit-learn's user guide, "Mean squared logarithmic error", defines the same.

    Examples:
        >>> round(squared_log(3.0, 5.0), 6), squared_log(-1.0, 0.0)
        (0.164402, nan)
    """
    smaller = min(y_true, y_pred)
    if smaller <= -1.0:
        return NAN
    ratio = math.log1p(abs(y_pred - y_true) / (1.0 + smaller))
    return ratio * ratio


def pinball(y_true: float, y_pred: float, quantile: float) -> float:
    """-quantile * e where e <= 0 (too low), (1 - quantile) e where e > 0; in units of y.

    Its mean is smallest where y_pred is that quantile of y_true; half the absolute error at 0.5.
    Domain: every number.

    Source: R. Koenker, G. Bassett, Regression quantiles, Econometrica 46 (1978).

    Examples:
        >>> pinball(10.0, 8.0, 0.75), pinball(10.0, 12.0, 0.75)
        (1.5, 0.5)
    """
    error = y_pred - y_true
    return error * (1.0 - quantile) if error > 0.0 else abs(error) * quantile


def log_loss(y_true: float, y_pred: float, clip: float) -> float:
    """-ln of the probability given to what happened, in nats; that probability counts as >= clip.

    Domain: y_true 0 or 1, y_pred from 0 to 1, the probability of 1. A sure prediction that was
    wrong costs -ln(clip), not infinity; a sure one that was right costs 0.

    Source: I. J. Good, Rational decisions, J. Royal Stat. Soc. B 14 (1952).

    Examples:
        >>> log_loss(1.0, 0.5, 1e-9) == log_loss(0.0, 0.5, 1e-9) == math.log(2)
        True
        >>> log_loss(0.5, 0.5, 1e-9)
        nan
    """
    if not 0.0 <= y_pred <= 1.0:
        return NAN
    if y_true == 1.0:
        return -math.log(max(y_pred, clip)) + 0.0
    if y_true == 0.0:
        return -(math.log1p(-y_pred) if 1.0 - y_pred > clip else math.log(clip)) + 0.0
    return NAN


def brier(y_true: float, y_pred: float) -> float:
    """(y_pred - y_true)^2 for a probability y_pred of an event: 0 is perfect, 1 is worst.

    Domain: y_true 0 or 1, y_pred from 0 to 1.

    Source: G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly
    Weather Review 78 (1950), its one-sided form.

    Examples:
        >>> brier(1.0, 0.75), brier(1.0, 1.5)
        (0.0625, nan)
    """
    if not 0.0 <= y_pred <= 1.0 or y_true not in (0.0, 1.0):
        return NAN
    error = y_pred - y_true
    return error * error


class Loss(NamedTuple):
    """What `LossStats` needs to know of a loss.

    Attributes:
        function: (y_true, y_pred) or (y_true, y_pred, parameter) -> loss.
        parameter: the parameter's name; empty for none.
        below: the parameter lies between 0 and this, both exclusive.
        default: the parameter where none is given; NaN if there must be one.
        root: whether the figure that goes by the loss's name is the root of the mean.
    """

    function: Callable[..., float]
    parameter: str = ""
    below: float = math.inf
    default: float = NAN
    root: bool = False


LOSSES = {
    "brier": Loss(brier),
    "huber": Loss(huber, "delta"),
    # 2^-52, the spacing of doubles at 1: what scikit-learn clips float64 probabilities by
    "log_loss": Loss(log_loss, "clip", below=0.5, default=2.0**-52),
    "mape": Loss(absolute_percentage, "floor"),
    "pinball": Loss(pinball, "quantile", below=1.0),
    "rmsle": Loss(squared_log, root=True),
    "smape": Loss(symmetric_percentage),
}
