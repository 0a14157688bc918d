"""Models of several outputs: a table of labels and one of predictions, one state per column."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from edgemse.stats.columns import buffer_of, flattened
from edgemse.stats.error_stats import ErrorStats

__all__ = ["split_columns", "update_columns"]


def update_columns(
    y_true: Any,
    y_pred: Any,
    weight: Any = None,
    *,
    into: Sequence[ErrorStats] | None = None,
) -> list[ErrorStats]:
    """Fold tables in, one `ErrorStats` per output; columns pair up by position.

    Args:
        y_true: shape (n, outputs): a buffer of two dimensions (numpy, memoryview: no copy where
            float64), a pandas, Polars or Arrow table, a mapping of columns, a tensor, or a
            sequence of rows. One dimension is one output.
        y_pred: the predictions, in any of these forms.
        weight: None for 1, or shape (n,), for every output the same.
        into: the states that grow, one per output; None for new ones.

    Returns:
        The states, in the order of the columns.

    Raises:
        ValueError: shapes do not fit, or a weight is negative; nothing was folded in.
        TypeError: the items are not real numbers.

    Examples:
        >>> [s.mse for s in update_columns([[0.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 4.0]])]
        [1.0, 4.5]
    """
    labels, predictions = split_columns(y_true, "y_true"), split_columns(y_pred, "y_pred")
    if len(labels) != len(predictions):
        raise ValueError(
            f"y_true has {len(labels)} outputs and y_pred {len(predictions)}; they must pair up"
        )
    if into is not None and len(into) != len(labels):
        raise ValueError(f"there are {len(labels)} outputs and {len(into)} states to take them")
    if weight is not None:
        weight = buffer_of(weight, "weight")  # an iterable can be gone through only once
    fresh = [ErrorStats() for _ in labels]
    for state, label, prediction in zip(fresh, labels, predictions, strict=True):
        state.update_many(label, prediction, weight)
    if into is None:
        return fresh
    for old, new in zip(into, fresh, strict=True):
        old.merge(new)
    return list(into)


def split_columns(table: Any, name: str = "the table") -> list[Any]:
    """Return the columns of a table; see `update_columns` for what one may be.

    Raises:
        ValueError: it has more than two dimensions or none, or rows of different lengths.
        TypeError: it is no table.

    Examples:
        >>> split_columns([(1, 2), (3, 4)])
        [(1, 3), (2, 4)]
        >>> split_columns([1, 2])
        [[1, 2]]
    """
    if isinstance(table, Mapping):
        if len({len(column) for column in table.values()}) > 1:
            raise ValueError(f"the columns of {name} differ in length")
        return list(table.values())
    if hasattr(table, "iloc"):  # pandas
        return [table] if table.ndim == 1 else [table.iloc[:, j] for j in range(table.shape[1])]
    if hasattr(table, "get_columns"):  # Polars
        return list(table.get_columns())
    if hasattr(table, "itercolumns"):  # Arrow
        return list(table.itercolumns())
    if hasattr(table, "numpy") or hasattr(table, "to_numpy") or _has_buffer(table):
        return _of_buffer(buffer_of(table, name), name)
    try:
        rows = list(table)
    except TypeError:
        kind = type(table).__name__
        raise TypeError(f"{name}: got {kind}, wanted a column or a table of numbers") from None
    if rows and (hasattr(rows[0], "__iter__") and not isinstance(rows[0], str | bytes)):
        if len({len(row) for row in rows}) > 1:
            raise ValueError(f"the rows of {name} differ in length")
        return list(zip(*rows, strict=True))
    return [rows]


def _has_buffer(table: Any) -> bool:
    try:
        memoryview(table)
    except TypeError:
        return False
    except ValueError:  # of what it cannot show, which is told when it is to be read
        return True
    return True


def _of_buffer(table: Any, name: str) -> list[Any]:
    view = memoryview(table)
    if view.ndim == 1:
        return [table]
    if view.ndim != 2 or view.shape is None:
        raise ValueError(f"{name} has {view.ndim} dimensions; one or two are wanted")
    n, outputs = view.shape
    if n == 0:
        return [array("d") for _ in range(outputs)]
    if not view.c_contiguous and hasattr(table, "__getitem__") and hasattr(table, "strides"):
        try:
            return [table[:, j] for j in range(outputs)]
        except (TypeError, NotImplementedError):  # a memoryview has strides, and no such slices
            pass
    flat = flattened(view, name)
    return [flat[j::outputs] for j in range(outputs)]
