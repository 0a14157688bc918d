"""What a sample can carry beside its error: features, a latency, the interval of its prediction.

Each becomes a number of a measure of its own: `feature:<name>`, `latency`, `interval:covered` (1
where lower <= y_true <= upper, else 0: its mean is the coverage) and `interval:width`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgemse.names import wrong_with
from edgemse.stats.measures import LOSS_PREFIX

__all__ = [
    "COVERED",
    "FEATURE_PREFIX",
    "LATENCY",
    "WIDTH",
    "Numbers",
    "check_measure",
    "checked_interval",
    "interval_numbers",
    "numbers_beside",
]

FEATURE_PREFIX = "feature:"
LATENCY = "latency"
INTERVAL_PREFIX = "interval:"
COVERED, WIDTH = f"{INTERVAL_PREFIX}covered", f"{INTERVAL_PREFIX}width"

Numbers = tuple[tuple[str, float], ...]
"""Measures and the number of each."""


def check_measure(name: str) -> None:
    """Raise ValueError unless numbers may be followed under this name.

    Losses and intervals are not: they are made of the sample.
    """
    if not name:
        raise ValueError("measure: got an empty name")
    wrong = wrong_with(name)
    if wrong:
        raise ValueError(f"measure: {wrong}")
    if name.startswith(LOSS_PREFIX):
        raise ValueError(f"measure {name!r}: say loss beside y_true and y_pred instead (loss=)")
    if name.startswith(INTERVAL_PREFIX):
        raise ValueError(f"measure {name!r}: say lower and upper beside y_pred instead")


def numbers_beside(latency: float | None, features: Mapping[str, float] | None) -> Numbers:
    """Return the measures of what is known when a prediction is made.

    Raises ValueError for a feature whose name is empty, too long or no name.

    >>> numbers_beside(0.2, {"temperature": 21.5})
    (('latency', 0.2), ('feature:temperature', 21.5))
    """
    found = [] if latency is None else [(LATENCY, latency)]
    for name, value in (features or {}).items():
        wrong = "" if name else "got an empty name"
        wrong = wrong or wrong_with(FEATURE_PREFIX + name)
        if wrong:
            raise ValueError(f"features: {wrong}")
        found.append((FEATURE_PREFIX + name, value))
    return tuple(found)


def checked_interval(lower: float | None, upper: float | None) -> tuple[float, float] | None:
    """Return both ends, or None where there are none; ValueError for one alone or the wrong way.

    >>> checked_interval(1.0, 2.0), checked_interval(None, None)
    ((1.0, 2.0), None)
    """
    if lower is None and upper is None:
        return None
    if lower is None or upper is None:
        raise ValueError("lower and upper: got one, wanted both ends of an interval")
    if lower > upper:
        raise ValueError(f"lower {lower!r} is above upper {upper!r}; wanted an interval")
    return lower, upper


def interval_numbers(y_true: float, lower: float, upper: float) -> Numbers:
    """Return whether the label lies in the interval, its ends included, and how wide that is.

    A label or an end that is not finite makes NaN of both, which ErrorStats counts in `nonfinite`:
    both measures count the same samples.

    >>> interval_numbers(3.0, 2.5, 3.0)
    (('interval:covered', 1.0), ('interval:width', 0.5))
    """
    if not (math.isfinite(y_true) and math.isfinite(lower) and math.isfinite(upper)):
        return (COVERED, math.nan), (WIDTH, math.nan)
    return (COVERED, float(lower <= y_true <= upper)), (WIDTH, upper - lower)
