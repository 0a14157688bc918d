"""Columns of pandas, Polars and Arrow, and tables with one column per output."""

import doctest
import math

import pytest

from edgemse import ErrorStats
from edgemse.stats import columns
from edgemse.stats.outputs import update_columns

Y = [1.0, 2.0, 3.0, 4.0]
P = [1.5, 2.5, 2.0, 4.0]


def stats_of(y, p) -> ErrorStats:
    s = ErrorStats()
    s.update_many(y, p)
    return s


WANT = stats_of(Y, P)


def test_pandas_columns_and_frames():
    pandas = pytest.importorskip("pandas")
    y, p = pandas.Series(Y), pandas.Series(P)
    assert stats_of(y, p) == WANT
    assert stats_of(y.astype("int32"), p) == WANT
    assert stats_of(y.astype("Float64"), p) == WANT
    missing = pandas.array([1.0, None, 3.0, 4.0], dtype="Float64")
    assert stats_of(pandas.Series(missing), p).nonfinite == 1
    with pytest.raises(TypeError, match="numbers"):
        stats_of(pandas.Series(["a", "b", "c", "d"]), p)
    table = pandas.DataFrame({"a": Y, "b": P})
    assert update_columns(table, table[["b", "a"]])[0] == WANT
    assert update_columns(y, p) == [WANT]  # one dimension is one output


def test_polars_columns_and_frames():
    polars = pytest.importorskip("polars")
    y, p = polars.Series(Y), polars.Series(P)
    assert stats_of(y, p) == WANT
    assert stats_of(y.cast(polars.Int16), p) == WANT
    assert stats_of(polars.Series([1.0, None, 3.0, 4.0]), p).nonfinite == 1
    assert stats_of(polars.Series([1, None, 3, 4]), p).nonfinite == 1
    with pytest.raises(TypeError, match="numbers"):
        stats_of(polars.Series(["a", "b", "c", "d"]), p)
    table = polars.DataFrame({"a": Y, "b": P})
    assert update_columns(table, table.select("b", "a"))[0] == WANT


def test_arrow_columns():
    arrow = pytest.importorskip("pyarrow")
    y, p = arrow.array(Y), arrow.array(P)
    assert stats_of(y, p) == WANT
    assert stats_of(y.cast("int32"), arrow.chunked_array([P[:2], P[2:]])) == WANT
    assert stats_of(arrow.array([1.0, None, 3.0, 4.0]), p).nonfinite == 1
    assert stats_of(arrow.array([1, None, 3, 4]), p).nonfinite == 1
    with pytest.raises(TypeError, match="numbers"):
        stats_of(arrow.array(["a", "b", "c", "d"]), p)


def test_two_dimensions():
    numpy = pytest.importorskip("numpy")
    table = numpy.array([Y, P]).T
    for order in "CF":
        states = update_columns(numpy.array(table, order=order), table[:, ::-1])
        assert states[0] == WANT
        assert states[1].bias == -WANT.bias
    assert update_columns(numpy.zeros((0, 3)), numpy.zeros((0, 3))) == [ErrorStats()] * 3
    with pytest.raises(ValueError, match="1 outputs and y_pred 2"):
        update_columns(table[0], table)


def test_rows_of_lists():
    rows, other = list(zip(Y, P, strict=True)), list(zip(P, Y, strict=True))
    assert update_columns(rows, other)[0] == WANT
    assert update_columns(rows, other, [1.0, 1.0, 0.0, 0.0])[0].count == 2
    assert update_columns([], []) == [ErrorStats()]
    with pytest.raises(ValueError, match="pair up"):
        update_columns(rows, [[1.0]] * 4)
    with pytest.raises(ValueError, match="pair up"):
        update_columns(rows, other[:-1])
    with pytest.raises(ValueError, match="differ in length"):
        update_columns([[1.0], [1.0, 2.0]], rows)
    nan = update_columns([[math.nan]], [[1.0]])[0]
    assert (nan.count, nan.nonfinite) == (0, 1)


def test_examples():
    assert doctest.testmod(columns).failed == 0
