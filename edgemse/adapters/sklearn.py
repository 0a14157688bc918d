"""scikit-learn's signatures over ErrorStats; scikit-learn need not be installed.

Limits: several raw values come as a list, not an array. What scikit-learn refuses is refused; so
are, beyond that, negative weights, weights of which one is below 2^-200 of the largest, |error| or
|y_true| above 2^200, numbers that are written as text, and dates. A mask is not looked at.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from edgemse.stats.columns import as_doubles
from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.outputs import split_columns, update_columns

__all__ = ["mean_squared_error", "root_mean_squared_error"]

WEIGHT_EXPONENT_MAX = 100
"""ErrorStats takes weights from 2^-100 to 2^100; only their ratios count here."""


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
        sample_weight: None for 1, or shape (n,); of any size, since only their ratios count.
        multioutput: `"uniform_average"` of the outputs, `"raw_values"` for a list of them, or a
            weight for each.

    Raises:
        ValueError: shapes do not fit, there is no sample, a NaN or an infinity, or a limit above.
        TypeError: something is no number; scikit-learn says ValueError to some of it.

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
    states = _states(_columns(y_true, "y_true"), _columns(y_pred, "y_pred"), sample_weight)
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
    weights = as_doubles(_numbers(multioutput), "multioutput")
    if len(values) == 1 or len(weights) != len(values):
        raise ValueError(
            f"{len(weights)} weights for {len(values)} outputs; one for each of several is wanted"
        )
    total = math.fsum(weights) if all(map(math.isfinite, weights)) else math.nan
    if not total:
        raise ValueError("the weights of the outputs sum to zero")
    if math.isnan(total):
        raise ValueError("a weight of the outputs is NaN or infinite")
    products = (weight * value for weight, value in zip(weights, values, strict=True))
    return math.fsum(products) / total


def _states(
    labels: dict[int, Any], predictions: dict[int, Any], sample_weight: Any
) -> list[ErrorStats]:
    if sample_weight is None:
        return update_columns(labels, predictions)
    weight = _numbers(sample_weight)
    if isinstance(weight, list | tuple) and any(isinstance(w, list | tuple) for w in weight):
        raise ValueError("sample_weight has 2 dimensions; one is wanted")
    weight = as_doubles(weight, "sample_weight")
    states = update_columns(labels, predictions, weight)
    if any(state.out_of_range for state in states):  # perhaps by the size of their weight only
        states = update_columns(labels, predictions, _scaled(weight))
    return states


def _scaled(weight: Sequence[float]) -> Sequence[float]:
    """Return the weights times a power of two (exactly), so that ErrorStats takes the largest."""
    sizes = [each for each in weight if 0.0 < each < math.inf]
    if not sizes:
        return weight
    shift = WEIGHT_EXPONENT_MAX - math.frexp(max(sizes))[1]
    if math.ldexp(min(sizes), shift) < 2.0**-WEIGHT_EXPONENT_MAX:
        raise ValueError(
            f"sample_weight: {min(sizes):g} beside {max(sizes):g}; wanted none below 2^-200 of the"
            " largest; 0 leaves a sample out"
        )
    return array("d", [math.ldexp(each, shift) for each in weight])


def _columns(table: Any, name: str) -> dict[int, Any]:
    if isinstance(table, set | frozenset):
        raise TypeError(f"{name} is a set, which has no order; wanted a column or table of numbers")
    return dict(enumerate(split_columns(_numbers(table), name)))


def _numbers(table: Any) -> Any:
    """Return an array of numpy whose items the core does not read as one, or a list, that it does.

    Objects may be numbers; half and extended precision and the other byte order are.
    """
    dtype: Any = getattr(table, "dtype", None)
    kind = getattr(dtype, "kind", "")
    if kind == "O" and hasattr(table, "tolist"):
        return table.tolist()
    if kind in ("f", "i", "u") and hasattr(table, "astype"):
        native = getattr(dtype, "isnative", True)  # dtypes of pandas do not say
        own = native and dtype.itemsize <= 8 and getattr(dtype, "char", "") != "e"
        return table if own else table.astype("f8")
    return table
