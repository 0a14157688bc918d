"""A loss as a measure: its name in a fleet, and the number that it makes of a sample.

`loss:huber(delta=1)` names a loss with its parameter, in the fewest digits that read back as the
same number, so that equal losses have equal names; `loss:brier` has none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from edgemse.stats.losses import LOSSES

__all__ = [
    "LOSS_PREFIX",
    "FollowedLoss",
    "checked_parameters",
    "follow_loss",
    "loss_of_measure",
    "measure_of_loss",
]

LOSS_PREFIX = "loss:"
LIMIT = 2.0**200  # ErrorStats' limit of |e|, |y_true| and so of a loss
REFUSED = 2.0**201  # stands for a loss that there is not: ErrorStats counts it as out of range
FOLLOWED_MAX = 128
"""Losses whose functions are kept made; a fleet bounds its measures lower."""

SPELLING = re.compile(r"(?P<loss>[a-z_]+)(?:\((?P<name>[a-z]+)=(?P<number>[0-9.e+-]+)\))?")


class FollowedLoss(NamedTuple):
    """What `follow_loss` makes of a loss's name.

    Attributes:
        measure: the canonical name, `loss:` in front.
        value: (y_true, y_pred) -> the loss. NaN where an input is not finite and 2^201 where there
            is no such loss: fed as a prediction of 0, `ErrorStats` counts these in `nonfinite` and
            `out_of_range`, as `LossStats` does.
    """

    measure: str
    value: Callable[[float, float], float]


def checked_parameters(loss: str, given: Mapping[str, float]) -> tuple[float, ...]:
    """Return the parameters of a loss in order, its default where none is given.

    Raises:
        ValueError: there is no such loss, or its parameter is missing or not in its range.
    """
    kind = LOSSES.get(loss)
    if kind is None:
        raise ValueError(f"there is no loss {loss!r}; there are {', '.join(sorted(LOSSES))}")
    if given.keys() - {kind.parameter} or (
        kind.parameter and math.isnan(kind.default) and not given
    ):
        wanted = f"the parameter {kind.parameter!r}" if kind.parameter else "no parameter"
        raise ValueError(f"{loss} takes {wanted}, not {sorted(given) or 'none'}")
    if not kind.parameter:
        return ()
    number = float(given.get(kind.parameter, kind.default))
    if not 0.0 < number < kind.below:
        raise ValueError(
            f"{kind.parameter} of {loss} lies between 0 and {kind.below:g}, not {number!r}"
        )
    return (number,)


def measure_of_loss(loss: str, parameters: tuple[float, ...]) -> str:
    """Return the canonical name of a loss as a measure.

    Examples:
        >>> measure_of_loss("huber", (1.0,)), measure_of_loss("brier", ())
        ('loss:huber(delta=1)', 'loss:brier')
    """
    if not parameters:
        return LOSS_PREFIX + loss
    (number,) = parameters
    return f"{LOSS_PREFIX}{loss}({LOSSES[loss].parameter}={repr(number).removesuffix('.0')})"


def loss_of_measure(measure: str) -> tuple[str, dict[str, float]]:
    """Return the loss and the parameters that a measure names; the inverse of `LossStats.measure`.

    Raises:
        ValueError: it names no loss, or not as `LossStats.measure` spells it.

    Examples:
        >>> loss_of_measure("loss:huber(delta=1)"), loss_of_measure("loss:brier")
        (('huber', {'delta': 1.0}), ('brier', {}))
    """
    loss, parameters = _read(measure)
    canonical = measure_of_loss(loss, tuple(parameters.values()))
    if measure != canonical:
        raise ValueError(f"the measure {measure!r} is spelt {canonical!r}")
    return loss, parameters


@lru_cache(maxsize=FOLLOWED_MAX)
def follow_loss(loss: str) -> FollowedLoss:
    """Return the measure of a loss and its value for a sample.

    Args:
        loss: as people write it or as a measure spells it: `huber(delta=1.0)`, `log_loss`,
            `loss:huber(delta=1)`.

    Raises:
        ValueError: there is no such loss, or its parameter is missing or not in its range.

    Examples:
        >>> huber = follow_loss("huber(delta=1.0)")
        >>> huber.measure, huber.value(10.0, 7.0)
        ('loss:huber(delta=1)', 2.5)
    """
    name, parameters = _read(LOSS_PREFIX + loss.removeprefix(LOSS_PREFIX))
    numbers = tuple(parameters.values())
    return FollowedLoss(measure_of_loss(name, numbers), _value_of(name, numbers))


def _read(measure: str) -> tuple[str, dict[str, float]]:
    """The loss of a measure and all of its parameters, however its number is spelt."""
    found = SPELLING.fullmatch(measure, len(LOSS_PREFIX))
    given = {}
    try:
        if found is None or not measure.startswith(LOSS_PREFIX):
            raise ValueError("it is not spelt like one")
        if found["name"]:
            given[found["name"]] = float(found["number"])
        numbers = checked_parameters(found["loss"], given)
    except ValueError as error:
        raise ValueError(
            f"{measure!r} names no loss: {error}; wanted is a name as 'loss:huber(delta=1)'"
        ) from None
    return found["loss"], dict(zip((LOSSES[found["loss"]].parameter,), numbers, strict=False))


def _value_of(loss: str, parameters: tuple[float, ...]) -> Callable[[float, float], float]:
    """(y_true, y_pred) -> the loss, NaN for a sample that is not finite, else REFUSED."""
    function = LOSSES[loss].function

    def value(y_true: float, y_pred: float) -> float:
        if not (abs(y_pred - y_true) <= LIMIT and abs(y_true) <= LIMIT):
            finite = math.isfinite(y_true) and math.isfinite(y_pred)
            return REFUSED if finite else math.nan
        loss = function(y_true, y_pred, *parameters)
        return loss if loss <= LIMIT else REFUSED

    return value
