"""scikit-learn's signatures over ErrorStats; scikit-learn need not be installed.

Limits: several raw values come as a list, not an array. What scikit-learn refuses is refused; so
are, beyond that, negative weights, weights of which one is below 2^-200 of the largest, |error| or
|y_true| above 2^200, numbers that are written as text, and dates. A mask is not looked at. A score
that is not defined (of fewer than two samples) is NaN without a warning.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from edgemse.errors import UnsupportedError
from edgemse.stats.columns import as_doubles
from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.loss_stats import LossStats
from edgemse.stats.outputs import split_columns, update_columns

__all__ = [
    "d2_tweedie_score",
    "explained_variance_score",
    "max_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_pinball_loss",
    "mean_squared_error",
    "mean_squared_log_error",
    "r2_score",
    "root_mean_squared_error",
    "root_mean_squared_log_error",
]

Columns: TypeAlias = dict[int, Any]
Outputs: TypeAlias = str | Sequence[float]
"""How the figures of several outputs become one: `"uniform_average"`, `"raw_values"` for a list of
them, or a weight for each; of scores `"variance_weighted"` too."""
WEIGHT_EXPONENT_MAX = 100
"""ErrorStats takes weights from 2^-100 to 2^100; only their ratios count here."""
EPSILON = 2.0**-52
"""What scikit-learn divides by where a label is 0: the spacing of doubles at 1."""


def mean_squared_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Outputs = "uniform_average"
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
    return _averaged([state.mse for state in _states(y_true, y_pred, sample_weight)], multioutput)


def root_mean_squared_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Outputs = "uniform_average"
) -> float | list[float]:
    """Return the root of the mean squared error, taken of each output before they are averaged.

    Arguments and errors are those of `mean_squared_error`.

    Examples:
        >>> root_mean_squared_error([1.0, 2.0], [1.0, 4.0], sample_weight=[3, 1])
        1.0
    """
    return _averaged([state.rmse for state in _states(y_true, y_pred, sample_weight)], multioutput)


def mean_absolute_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Outputs = "uniform_average"
) -> float | list[float]:
    """Return the mean of |y_pred - y_true|; arguments and errors as of `mean_squared_error`.

    Examples:
        >>> mean_absolute_error([3, -0.5, 2, 7], [2.5, 0.0, 2, 8])
        0.5
    """
    return _averaged([state.mae for state in _states(y_true, y_pred, sample_weight)], multioutput)


def max_error(y_true: Any, y_pred: Any) -> float:
    """Return the largest |y_pred - y_true|, exactly, of one output.

    `ErrorStats.max_error` is the largest error with its sign. Errors as of `mean_squared_error`.

    Examples:
        >>> max_error([3, 2, 7, 1], [4, 2, 3, 1])
        4.0
    """
    state = _only(_states(y_true, y_pred, None), "max_error")
    return max(abs(state.min_error), abs(state.max_error))


def r2_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: Outputs = "uniform_average",
    force_finite: bool = True,
) -> float | list[float]:
    """Return 1 - MSE / variance of y_true: 1 is perfect, 0 is as good as the labels' mean.

    Arguments and errors are those of `mean_squared_error`; `multioutput` may be
    `"variance_weighted"` too: outputs count by the variance of their labels. Of labels that are all
    the same the score is 1.0 if the predictions are perfect, else 0.0; without `force_finite` NaN
    and -inf, where `ErrorStats.r2` is NaN.

    Examples:
        >>> round(r2_score([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]), 6)
        0.948608
    """
    states = _states(y_true, y_pred, sample_weight)
    if states[0].count < 2:
        return math.nan
    return _score(states, [state.mse for state in states], multioutput, finite=force_finite)


def explained_variance_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: Outputs = "uniform_average",
    force_finite: bool = True,
) -> float | list[float]:
    """Return 1 - variance of the error / variance of y_true: `r2_score` of a model without bias.

    Arguments and errors are those of `r2_score`.

    Examples:
        >>> round(explained_variance_score([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]), 6)
        0.957173
    """
    states = _states(y_true, y_pred, sample_weight)
    unexplained = [state.error_variance for state in states]
    return _score(states, unexplained, multioutput, finite=force_finite)


def d2_tweedie_score(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, power: float = 0
) -> float:
    """Return the share of the deviance from the labels' mean that is explained, of one output.

    With power 0, the only one that a state knows, the deviance is the squared error: `r2_score`,
    -inf or NaN where the labels are all the same, which scikit-learn answers with a
    ZeroDivisionError. Errors as of `mean_squared_error`.

    Raises:
        UnsupportedError: another power, whose deviance no mergeable state of errors holds.

    Examples:
        >>> round(d2_tweedie_score([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]), 6)
        0.948608
    """
    if power != 0:
        raise UnsupportedError(
            f"power {power!r}: a state holds squared errors, power 0; compute the deviance of other"
            " powers where the samples are"
        )
    state = _only(_states(y_true, y_pred, sample_weight), "d2_tweedie_score")
    if state.count < 2:
        return math.nan
    found = _score([state], [state.mse], "raw_values", finite=False)
    assert isinstance(found, list), "raw values are a list"
    return found[0]


def mean_absolute_percentage_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Outputs = "uniform_average"
) -> float | list[float]:
    """Return the mean of |e| / max(|y_true|, 2^-52), a share; arguments as `mean_squared_error`.

    One label of 0 makes it astronomic; River counts it as perfect (`edgemse.adapters.river.MAPE`),
    and `LossStats("mape", floor=...)` divides by a floor that you choose.

    Examples:
        >>> mean_absolute_percentage_error([10.0, 20.0], [9.0, 24.0])
        0.15000000000000002
    """
    found = _losses(LossStats("mape", floor=EPSILON), y_true, y_pred, sample_weight)
    return _averaged(found, multioutput)


def mean_squared_log_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Outputs = "uniform_average"
) -> float | list[float]:
    """Return the mean of (ln(1 + y_pred) - ln(1 + y_true))^2; arguments as `mean_squared_error`.

    Raises:
        ValueError: as there, and where a label or prediction is -1 or less.

    Examples:
        >>> round(mean_squared_log_error([3, 5, 2.5, 7], [2.5, 5, 4, 8]), 6)
        0.03973
    """
    return _averaged(_losses(LossStats("rmsle"), y_true, y_pred, sample_weight), multioutput)


def root_mean_squared_log_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Outputs = "uniform_average"
) -> float | list[float]:
    """Return the root of `mean_squared_log_error`, taken of each output before they are averaged.

    Examples:
        >>> round(root_mean_squared_log_error([3, 5, 2.5, 7], [2.5, 5, 4, 8]), 6)
        0.199324
    """
    found = _losses(LossStats("rmsle"), y_true, y_pred, sample_weight)
    return _averaged([math.sqrt(each) for each in found], multioutput)


def mean_pinball_loss(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    alpha: float = 0.5,
    multioutput: Outputs = "uniform_average",
) -> float | list[float]:
    """Return the mean pinball loss of the quantile `alpha`; arguments as `mean_squared_error`.

    Raises:
        ValueError: as there, and unless `alpha` lies between 0 and 1, both exclusive.

    Examples:
        >>> round(mean_pinball_loss([1, 2, 3], [0, 2, 3], alpha=0.9), 6)
        0.3
    """
    found = _losses(LossStats("pinball", quantile=alpha), y_true, y_pred, sample_weight)
    return _averaged(found, multioutput)


S = TypeVar("S", ErrorStats, LossStats)


def _states(y_true: Any, y_pred: Any, sample_weight: Any) -> list[ErrorStats]:
    """Return the statistics of each output, all samples being in them."""

    def fold(labels: Columns, predictions: Columns, weight: Any) -> list[ErrorStats]:
        return update_columns(labels, predictions, weight)

    states = _folded(fold, lambda state: state.out_of_range, y_true, y_pred, sample_weight)
    for state in states:
        _check(state.nonfinite, state.out_of_range, "beyond 2^200")
    if not states or not states[0].count:
        raise ValueError("the input holds no sample with a weight; at least one is wanted")
    return states


def _losses(empty: LossStats, y_true: Any, y_pred: Any, sample_weight: Any) -> list[float]:
    """Return the mean loss of each output."""

    def fold(labels: Columns, predictions: Columns, weight: Any) -> list[LossStats]:
        if len(labels) != len(predictions):
            raise ValueError(
                f"y_true has {len(labels)} outputs and y_pred {len(predictions)}; they must pair up"
            )
        states = [empty.copy() for _ in labels]
        for place, state in enumerate(states):
            state.update_many(labels[place], predictions[place], weight)
        return states

    states = _folded(fold, lambda state: state.out_of_domain, y_true, y_pred, sample_weight)
    for state in states:
        _check(state.nonfinite, state.out_of_domain, f"beyond 2^200 or outside of {empty.loss}")
    if not states or not states[0].count:
        raise ValueError("the input holds no sample with a weight; at least one is wanted")
    return [state.mean for state in states]


def _folded(
    fold: Callable[[Columns, Columns, Any], list[S]],
    refused: Callable[[S], int],
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
) -> list[S]:
    """Fold the columns in; again with other weights if only the size of these was refused."""
    labels, predictions = _columns(y_true, "y_true"), _columns(y_pred, "y_pred")
    if sample_weight is None:
        return fold(labels, predictions, None)
    weight = _numbers(sample_weight)
    if isinstance(weight, list | tuple) and any(isinstance(w, list | tuple) for w in weight):
        raise ValueError("sample_weight has 2 dimensions; one is wanted")
    weight = as_doubles(weight, "sample_weight")
    states = fold(labels, predictions, weight)
    if any(refused(state) for state in states):  # perhaps by the size of their weight only
        states = fold(labels, predictions, _scaled(weight))
    return states


def _check(nonfinite: int, outside: int, where: str) -> None:
    if nonfinite or outside:
        raise ValueError(
            f"the input holds {nonfinite} samples with a NaN or an infinity and {outside} {where};"
            " clean it, or count them with ErrorStats or LossStats"
        )


def _only(states: Sequence[ErrorStats], name: str) -> ErrorStats:
    if len(states) != 1:
        raise ValueError(f"{name} of {len(states)} outputs; one is wanted, as in scikit-learn")
    return states[0]


def _score(
    states: Sequence[ErrorStats],
    unexplained: Sequence[float],
    multioutput: Outputs,
    *,
    finite: bool,
) -> float | list[float]:
    """Return 1 less what is unexplained of the labels' variances, averaged."""
    moments = [state.moments() for state in states]
    variances = [(each.y_m2 + each.y_m2_lo) / each.weight for each in moments]
    pairs = zip(unexplained, variances, strict=True)
    scores = [_explained(left, variance, finite=finite) for left, variance in pairs]
    if isinstance(multioutput, str) and multioutput == "variance_weighted":
        multioutput = variances if any(variances) and len(variances) > 1 else "uniform_average"
    return _averaged(scores, multioutput)


def _explained(left: float, variance: float, *, finite: bool) -> float:
    if variance:
        return 1.0 - left / variance
    if finite:
        return 0.0 if left else 1.0
    return -math.inf if left else math.nan


def _averaged(values: list[float], multioutput: Outputs) -> float | list[float]:
    if isinstance(multioutput, str):
        if multioutput == "raw_values":
            return values
        if multioutput != "uniform_average":
            raise ValueError(
                "multioutput is 'raw_values', 'uniform_average' or a weight per output,"
                f" not {multioutput!r}"
            )
        return _sum(values) / len(values)
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
    return _sum([weight * value for weight, value in zip(weights, values, strict=True)]) / total


def _sum(values: Sequence[float]) -> float:
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


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
