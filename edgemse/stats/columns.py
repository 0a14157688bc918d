"""Columns of numbers, whoever made them, as something with a buffer; no library is imported.

A column without a buffer of its own is asked for one by the methods that its library offers, so it
is copied only where that library must: a float64 column in one piece and without nulls is not.
Nulls become NaN, which the statistics count as `nonfinite`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["as_buffer", "as_doubles", "buffer_of", "flattened"]

KINDS = frozenset("dfbhilqnBHILQN?")  # the struct formats of real numbers that the core reads


def as_buffer(source: Any, name: str = "the column") -> Any:
    """Return an object with a buffer that stands for a column which has none itself.

    Args:
        source: a pandas, Polars or Arrow column, a tensor with `numpy()`, a sequence or an
            iterable of numbers. In a sequence None is a mistake; in a column of a library it is a
            null and becomes NaN.
        name: how an error shall call it.

    Raises:
        TypeError: it is none of these, or holds something else than numbers.

    Examples:
        >>> as_buffer(iter([1, 2.5]))
        array('d', [1.0, 2.5])
    """
    if hasattr(source, "to_numpy"):
        return _of_library(source, name)
    if hasattr(source, "numpy"):
        return _of_tensor(source)
    return _by_item(source, name)


def as_doubles(source: Any, name: str = "the column") -> Sequence[float]:
    """Return a column as a sequence of floats: float64 where it lies, all else copied.

    Raises:
        ValueError: it has not one dimension.
        TypeError: it holds something else than numbers in the machine's byte order.

    Examples:
        >>> list(as_doubles(array("h", [1, 2])))
        [1.0, 2.0]
    """
    view = memoryview(buffer_of(source, name))
    if view.ndim != 1:
        raise ValueError(f"{name} has {view.ndim} dimensions; one is wanted")
    if _native_format(view, name) != view.format:
        view = flattened(view, name)
    return view if view.format == "d" else array("d", view)


def buffer_of(source: Any, name: str) -> Any:
    """Return `source` where it has a buffer, else what `as_buffer` makes of it."""
    try:
        memoryview(source)
    except TypeError:
        return as_buffer(source, name)
    except ValueError as error:  # numpy's, of dates
        raise TypeError(f"{name} holds no numbers: {error}") from None
    return source


def flattened(source: Any, name: str) -> memoryview:
    """Return all items of a buffer of any shape in one dimension, row by row.

    Copied only where they do not lie in that order.

    Raises:
        TypeError: the items are not real numbers in the machine's byte order.
    """
    view = memoryview(source)
    code: Any = _native_format(view, name)
    whole = view.c_contiguous and view.nbytes  # a view without items cannot be cast
    return (view.cast("B") if whole else memoryview(view.tobytes())).cast(code)


def _native_format(view: memoryview, name: str) -> str:
    """Return the struct format of a view's items without its byte order, which is the machine's.

    Raises:
        TypeError: they are not real numbers, or in the other byte order.
    """
    code = view.format.lstrip("@=" + ("<" if array("H", (1,)).tobytes()[0] else ">!"))
    if code not in KINDS:
        raise TypeError(
            f"{name} holds items of format {view.format!r}; wanted are float64, float32,"
            " integers or bool in the machine's byte order"
        )
    return code


def _of_library(source: Any, name: str) -> Any:
    """A pandas, Polars or Arrow column."""
    dtype: Any = getattr(source, "dtype", None)
    try:
        if hasattr(dtype, "na_value") and dtype.kind in "fiub":  # of pandas, with nulls of its own
            return source.to_numpy(dtype="float64", na_value=math.nan)
        if hasattr(source, "null_count") and hasattr(source, "type"):  # Arrow
            column = source.to_numpy(zero_copy_only=False)
        else:
            column = source.to_numpy()
    except ImportError:  # Polars and Arrow go without numpy; nulls come as None
        return _by_item(source.to_list(), name, nulls=True)
    if column.dtype.kind in "fiub":
        return column
    if column.dtype.kind != "O":
        raise TypeError(f"{name} holds {column.dtype}; a column of numbers is wanted")
    if hasattr(source, "isna"):
        column = [None if null else item for item, null in zip(source, source.isna(), strict=True)]
    return _by_item(column, name, nulls=True)


def _of_tensor(source: Any) -> Any:
    """A tensor of PyTorch (off its graph and device) or TensorFlow, as the array that it shows."""
    for step in ("detach", "cpu"):
        if hasattr(source, step):
            source = getattr(source, step)()
    if str(getattr(source, "dtype", "")) in ("torch.float16", "torch.bfloat16"):
        source = source.double()  # formats that no buffer of numbers has
    return source.numpy()


def _by_item(items: Iterable[Any], name: str, *, nulls: bool = False) -> Any:
    if nulls:
        items = (math.nan if item is None else item for item in items)
    try:
        return array("d", items)
    except TypeError as error:
        raise TypeError(
            f"{name} must be a buffer, a sequence or an iterable of numbers: {error}"
        ) from None
