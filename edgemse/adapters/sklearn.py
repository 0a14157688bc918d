"""scikit-learn's signatures over ErrorStats; scikit-learn need not be installed.

Limits: several raw values come as a list, not an array. Negative weights are a ValueError, as is
|error| or |y_true| above 2^200. Arrays of objects, sparse and masked arrays are not understood.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.outputs import update_columns

__all__ = ["mean_squared_error", "root_mean_squared_error"]


def mean_squared_error(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: str | Sequence[float] = "uniform_average",
) -> float | list[float]:
    """Return the mean of (y_pred - y_true)^2, weighted; right to a few units in the last place.

    Args:
        y_true: the labels, shape (n,) or (n, outputs); anything that `update_columns` takes.
        y_pred: the predictions.
        sample_weight: None for 1, or shape (n,).
        multioutput: `"uniform_average"` of the outputs, `"raw_values"` for a list of them, or a
            weight for each.

    Raises:
        ValueError: as in scikit-learn: shapes do not fit, there is no sample, a NaN or an infinity.

    Examples:
        >>> mean_squared_error([3, -0.5, 2, 7], [2.5, 0.0, 2, 8])
        0.375
        >>> mean_squared_error([[0, 1], [1, 1]], [[0, 2], [2, 1]], multioutput="raw_values")
        [0.5, 0.5]
    """
    return _figure(y_true, y_pred, sample_weight, multioutput, lambda state: state.mse)


def root_mean_squared_error(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: str | Sequence[float] = "uniform_average",
) -> float | list[float]:
    """Return the root of the mean squared error, taken of each output before they are averaged.

    Arguments and errors are those of `mean_squared_error`.

    Examples:
        >>> root_mean_squared_error([1.0, 2.0], [1.0, 4.0], sample_weight=[3, 1])
        1.0
    """
    return _figure(y_true, y_pred, sample_weight, multioutput, lambda state: state.rmse)


def _figure(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    multioutput: str | Sequence[float],
    figure: Callable[[ErrorStats], float],
) -> float | list[float]:
    states = update_columns(y_true, y_pred, sample_weight)
    for state in states:
        if state.nonfinite or state.out_of_range:
            raise ValueError(
                f"the input holds {state.nonfinite} samples with a NaN or an infinity and"
                f" {state.out_of_range} beyond 2^200; clean it, or count them with ErrorStats"
            )
    if not states or not states[0].count:
        raise ValueError("the input holds no sample with a weight; at least one is wanted")
    values = [figure(state) for state in states]
    if isinstance(multioutput, str):
        if multioutput == "raw_values":
            return values
        if multioutput != "uniform_average":
            raise ValueError(
                "multioutput is 'raw_values', 'uniform_average' or a weight per output,"
                f" not {multioutput!r}"
            )
        return math.fsum(values) / len(values)
    weights = [float(weight) for weight in multioutput]
    if len(values) == 1 or len(weights) != len(values):
        raise ValueError(
            f"{len(weights)} weights for {len(values)} outputs; one for each of several is wanted"
        )
    if math.fsum(weights) == 0.0:
        raise ValueError("the weights of the outputs sum to zero")
    products = (weight * value for weight, value in zip(weights, values, strict=True))
    return math.fsum(products) / math.fsum(weights)
