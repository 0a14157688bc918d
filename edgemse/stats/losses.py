"""Losses of one sample, beside the squared error: formula, domain and source of each.

A function takes finite numbers and returns the loss, never negative, or NaN outside its domain.
`LOSSES` names them for `LossStats`, with the one parameter that some have.

Huber, MAPE, pinball and Brier are made of single IEEE operations: the same bits on every machine.
RMSLE and log loss call the C library's logarithm, whose last bit may differ between libraries.
"""

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

__all__ = [
    "LOSSES",
    "REFUSED",
    "FollowedLoss",
    "Loss",
    "absolute_percentage",
    "brier",
    "followed",
    "huber",
    "log_loss",
    "pinball",
    "squared_log",
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
}

LIMIT = 2.0**200
"""ErrorStats' limit of |e|, |y_true| and so of a loss."""
REFUSED = 2.0**201
"""Stands for a loss that there is not: ErrorStats counts it as out of range."""
_TEXT = re.compile(r"(?:loss:)?([a-z_]+)(?:\((?:([a-z]+)=)?([0-9a-z.+-]+)\))?")


class FollowedLoss(NamedTuple):
    """A loss with its parameter: its name, the measure that follows it, and its function.

    Attributes:
        name: a key of LOSSES.
        parameters: the parameter's value, or nothing.
        measure: the canonical name, `loss:huber(delta=1)`; equal losses have equal names.
        of: (y_true, y_pred) -> the loss; NaN for a sample that is not finite, REFUSED outside the
            loss's domain or beyond LIMIT, as ErrorStats counts them.
    """

    name: str
    parameters: tuple[float, ...]
    measure: str
    of: Callable[[float, float], float]


@lru_cache(maxsize=256)
def followed(text: str) -> FollowedLoss:
    """Return the loss that a text names: `huber(delta=1)`, `huber(1)`, `loss:brier`.

    Raises:
        ValueError: there is no such loss, or its parameter is missing, unknown or out of range.

    Examples:
        >>> followed("huber(1.0)").measure, followed("log_loss").measure
        ('loss:huber(delta=1)', 'loss:log_loss(clip=2.220446049250313e-16)')
        >>> followed("loss:pinball(quantile=0.9)").of(10.0, 8.0)
        1.8
    """
    match = _TEXT.fullmatch(text)
    loss = LOSSES.get(match[1]) if match else None
    if match is None or loss is None:
        known = ", ".join(sorted(LOSSES))
        raise ValueError(f"loss {text!r:.80}: wanted one of {known}, as in huber(delta=1)")
    if match[3] is None and (not loss.parameter or not math.isnan(loss.default)):
        given = loss.default
    elif not loss.parameter or match[3] is None or match[2] not in (None, loss.parameter):
        wanted = f"{match[1]}({loss.parameter}=...)" if loss.parameter else match[1]
        raise ValueError(f"loss {text!r:.80}: wanted {wanted}")
    else:
        given = _number(match[3])
    if not loss.parameter:
        return FollowedLoss(match[1], (), f"loss:{match[1]}", _checked(loss.function, ()))
    if not 0.0 < given < loss.below:
        raise ValueError(
            f"{loss.parameter} of {match[1]} lies between 0 and {loss.below:g}, not {given!r}"
        )
    shown = repr(given).removesuffix(".0")
    measure = f"loss:{match[1]}({loss.parameter}={shown})"
    return FollowedLoss(match[1], (given,), measure, _checked(loss.function, (given,)))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return NAN  # lies in no range


def _checked(
    function: Callable[..., float], parameters: tuple[float, ...]
) -> Callable[[float, float], float]:
    def of(y_true: float, y_pred: float) -> float:
        if not (abs(y_pred - y_true) <= LIMIT and abs(y_true) <= LIMIT):
            finite = math.isfinite(y_true) and math.isfinite(y_pred)
            return REFUSED if finite else math.nan
        loss = function(y_true, y_pred, *parameters)
        return loss if loss <= LIMIT else REFUSED

    return of
