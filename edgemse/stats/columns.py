"""Columns and tables as other libraries keep them: pandas, Polars, Arrow, and 2-D arrays.

None of those libraries is imported; they are recognised by what they offer.
"""

from __future__ import annotations

from typing import Any

from edgemse.stats.error_stats import ErrorStats

__all__ = ["as_buffer", "update_columns"]


def as_buffer(column: Any) -> Any:
    """The float64 buffer of a column that offers `to_numpy`; nulls become NaN.

    NaN counts as nonfinite, so nulls are counted and never folded in. Without nulls a float64
    column is not copied where the library can hand out its memory.

    Raises:
        TypeError: the column holds no numbers.
    """
    family = type(column).__module__.partition(".")[0]
    try:
        if family == "pandas":
            return column.to_numpy(dtype="float64", na_value=float("nan"))
        if family == "pyarrow":
            column = column if str(column.type) == "double" else column.cast("double")
            return column.to_numpy(
                **({} if hasattr(column, "chunks") else {"zero_copy_only": False})
            )
        if family == "polars" and not str(column.dtype).startswith(
            ("Int", "UInt", "Float", "Bool")
        ):
            raise ValueError(f"dtype {column.dtype}")
        return column.to_numpy()
    except ValueError as error:
        raise TypeError(f"a {type(column).__qualname__} that holds no numbers: {error}") from error


def update_columns(y_true: Any, y_pred: Any, weight: Any = None) -> list[ErrorStats]:
    """One `ErrorStats` per column of two tables of the same shape, one column per output.

    Args:
        y_true: shape (n, k): a 2-D array, a DataFrame or a list of k-item rows.
        y_pred: the same shape.
        weight: None for 1, or shape (n,), the same for every column.

    Returns:
        k states; of no rows or no columns, none or empty ones.

    Raises:
        ValueError: the shapes differ or are not two-dimensional, or a weight is negative.
        TypeError: a column holds no numbers.

    >>> [s.bias for s in update_columns([[1.0, 2.0], [3.0, 4.0]], [[1.5, 2.0], [3.5, 3.0]])]
    [0.5, -0.5]
    """
    truths, predictions = _columns(y_true, "y_true"), _columns(y_pred, "y_pred")
    if len(truths) != len(predictions):
        raise ValueError(
            f"y_true has {len(truths)} columns and y_pred {len(predictions)}; they must pair up"
        )
    states = []
    for truth, prediction in zip(truths, predictions, strict=True):
        states.append(ErrorStats())
        states[-1].update_many(truth, prediction, weight)
    return states


def _columns(table: Any, name: str) -> list[Any]:
    if hasattr(table, "iter_columns"):  # Polars, Arrow
        return list(table.iter_columns())
    if hasattr(table, "iloc"):  # pandas
        if table.ndim != 2:
            raise ValueError(f"{name} has {table.ndim} dimensions; two are wanted")
        return [table.iloc[:, j] for j in range(table.shape[1])]
    if hasattr(table, "shape"):
        if len(table.shape) != 2:
            raise ValueError(f"{name} has {len(table.shape)} dimensions; two are wanted")
        return [table[:, j] for j in range(table.shape[1])]
    rows = [list(row) for row in table]
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"the rows of {name} differ in length")
    return [list(column) for column in zip(*rows, strict=True)]
