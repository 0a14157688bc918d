"""Columns and tables of pandas, Polars and Arrow: nulls counted, nothing copied without need."""

from __future__ import annotations

import builtins
from array import array
from decimal import Decimal

import numpy
import pandas
import polars
import pyarrow
import pytest

from edgemse import ErrorStats, LossStats, update_columns
from edgemse.stats.columns import as_buffer, as_doubles, flattened
from edgemse.stats.outputs import split_columns

Y = [3.0, 0.0, 2.0, 7.0]
P = [2.0, 0.0, 2.0, 8.0]
NULLS = [3, None, 2, 7]


def stats_of(y, p, weight=None) -> ErrorStats:
    s = ErrorStats()
    s.update_many(y, p, weight)
    return s


WANT = stats_of(Y, P)
KINDS = {
    **{
        f"pandas {dtype}": lambda x, dtype=dtype: pandas.Series(x, dtype=dtype)
        for dtype in ("float64", "float32", "int16", "Float64", "Int64", "int64[pyarrow]", "object")
    },
    **{
        f"polars {dtype}": lambda x, dtype=dtype: polars.Series(x, dtype=polars.Float64).cast(dtype)
        for dtype in (polars.Float64, polars.Float32, polars.UInt8, polars.Int64)
    },
    **{
        f"arrow {dtype}": lambda x, dtype=dtype: pyarrow.array(x, pyarrow.float64()).cast(dtype)
        for dtype in ("double", "float", "uint8", "int64")
    },
    "arrow chunks": lambda x: pyarrow.chunked_array([x[:1], x[1:]], pyarrow.float64()),
    "pandas decimal": lambda x: pandas.Series([v if v is None else Decimal(str(v)) for v in x]),
    "pandas category": lambda x: pandas.Series(x).astype("category"),
    "pandas index": pandas.Index,
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_columns_of_every_kind(kind):
    make = KINDS[kind]
    assert stats_of(make(Y), make(P)) == WANT
    assert stats_of(make(Y), P, make([1.0] * 4)) == stats_of(Y, P, [1.0] * 4)
    losses, want = LossStats("huber", delta=1.0), LossStats("huber", delta=1.0)
    losses.update_many(make(Y), make(P))
    want.update_many(Y, P)
    assert losses == want


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"pandas int16"}))
def test_nulls_count_as_nonfinite(kind):
    s = stats_of(KINDS[kind](NULLS), P)
    assert (s.count, s.nonfinite, s.mse) == (3, 1, 2 / 3)


def test_booleans_with_and_without_nulls():
    flags = [True, False, None]
    for column in (
        pandas.Series(flags, dtype="boolean"),
        pandas.Series(flags),
        polars.Series(flags),
        pyarrow.array(flags),
    ):
        s = stats_of(column, [1, 1, 1])
        assert (s.count, s.nonfinite, s.mse) == (2, 1, 0.5)


def test_whole_float64_columns_are_not_copied():
    values = numpy.arange(5.0)
    for column in (
        pandas.Series(values),
        pandas.Series(values, dtype="Float64"),
        polars.Series(values),
        pyarrow.array(values),
        pyarrow.chunked_array([pyarrow.array(values)]),
        pandas.Series(pyarrow.array(values), dtype=pandas.ArrowDtype(pyarrow.float64())),
    ):
        assert numpy.shares_memory(as_buffer(column), column.to_numpy())
    assert numpy.shares_memory(numpy.asarray(as_doubles(values)), values)
    assert numpy.shares_memory(numpy.asarray(flattened(values.reshape(5, 1), "x")), values)


@pytest.mark.parametrize(
    "bad",
    [
        pandas.Series(["1", "2", "3", "4"]),
        pandas.Series(["1", "2", "3", "4"], dtype=object),
        pandas.Series(pandas.to_datetime(["2026-01-01"] * 4)),
        pandas.Series(pandas.to_timedelta([1, 2, 3, 4])),
        polars.Series(["1", "2", "3", "4"]),
        polars.Series([1, 2, 3, 4]).cast(polars.Date),
        pyarrow.array(["1", "2", "3", "4"]),
        pyarrow.array([1, 2, 3, 4], pyarrow.timestamp("s")),
        numpy.array(Y, ">f8"),
        numpy.array(Y, "f2"),
    ],
    ids=str,
)
def test_columns_that_hold_no_numbers_are_refused(bad):
    for s in (ErrorStats(), LossStats("brier")):
        with pytest.raises(TypeError):
            s.update_many(bad, P)
        assert s.count == 0


def test_formats_that_say_their_byte_order_and_strides():
    import ctypes

    column = (ctypes.c_double * 4)(*Y)
    assert memoryview(column).format == "<d"
    assert list(as_doubles(column)) == Y
    assert list(as_doubles(numpy.array([*Y, *Y])[::2])) == [3, 2, 3, 2]
    assert list(as_doubles(numpy.array([1, 0], "?"))) == [1.0, 0.0]
    assert list(as_doubles(b"\x01\x02")) == [1.0, 2.0]
    with pytest.raises(ValueError, match="2 dimensions"):
        as_doubles(numpy.zeros((2, 2)))


def test_polars_and_arrow_without_numpy(monkeypatch):
    class WithoutNumpy:
        def to_numpy(self):
            raise ModuleNotFoundError("numpy")

        def to_list(self):
            return [1, None, 2.5]

    s = stats_of(WithoutNumpy(), [1, 1, 1])
    assert (s.count, s.nonfinite) == (2, 1)


class Tensor:
    """What a tensor of PyTorch offers: no buffer, and no numpy while it needs a gradient."""

    def __init__(self, values, dtype="torch.float32", gradient=True, device="cuda"):
        self.values, self.dtype = values, dtype
        self.gradient, self.device = gradient, device

    def detach(self):
        return Tensor(self.values, self.dtype, False, self.device)

    def cpu(self):
        return Tensor(self.values, self.dtype, self.gradient, "cpu")

    def double(self):
        return Tensor(self.values, "torch.float64", self.gradient, self.device)

    def numpy(self):
        assert not self.gradient
        assert self.device == "cpu"
        kinds = {"torch.float32": "f4", "torch.float64": "f8", "torch.int64": "i8"}
        return numpy.array(self.values, kinds[self.dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "float16", "bfloat16"])
def test_tensors_off_graph_and_device(dtype):
    assert stats_of(Tensor(Y, f"torch.{dtype}"), Tensor(P, f"torch.{dtype}")) == WANT


ROWS_Y, ROWS_P = [[3, 1], [0, 2], [2, 5]], [[2, 1], [0, 4], [2, 5]]
COLUMNS = [[3, 0, 2], [1, 2, 5]], [[2, 0, 2], [1, 4, 5]]
OUTPUTS = [stats_of(y, p) for y, p in zip(*COLUMNS, strict=True)]
TABLES = {
    "rows": list,
    "tuples": lambda rows: [tuple(row) for row in rows],
    "rows that are arrays": lambda rows: [array("d", row) for row in rows],
    "numpy": lambda rows: numpy.array(rows, "f8"),
    "numpy by columns": lambda rows: numpy.array(rows, "f4", order="F"),
    "numpy cut": lambda rows: numpy.array([[*row, 9] for row in rows], "i4")[:, :2],
    "memoryview": lambda rows: memoryview(numpy.array(rows, "f8")),
    "memoryview by columns": lambda rows: memoryview(numpy.array(rows, "f8", order="F")),
    "pandas": lambda rows: pandas.DataFrame(rows, columns=["same", "same"]),
    "polars": lambda rows: polars.DataFrame(rows, schema=["a", "b"], orient="row"),
    "arrow": lambda rows: pyarrow.table({"a": [r[0] for r in rows], "b": [r[1] for r in rows]}),
    "mapping": lambda rows: {"a": [r[0] for r in rows], "b": [r[1] for r in rows]},
    "tensor": Tensor,
}


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_tables_of_every_kind(kind):
    make = TABLES[kind]
    assert update_columns(make(ROWS_Y), make(ROWS_P)) == OUTPUTS
    weighted = update_columns(make(ROWS_Y), ROWS_P, iter([1, 0, 2]))
    assert [s.weight for s in weighted] == [3.0, 3.0]


def test_one_dimension_is_one_output():
    for make in (list, numpy.array, pandas.Series, polars.Series, pyarrow.array, Tensor):
        assert update_columns(make(Y), P) == [WANT]


def test_states_grow_and_errors_change_nothing():
    states = [ErrorStats(), ErrorStats()]
    assert update_columns(ROWS_Y, ROWS_P, into=states) == OUTPUTS
    assert states == OUTPUTS
    for y, p, weight, message in (
        (ROWS_Y, ROWS_P[:2], None, "must pair up"),
        (ROWS_Y, Y, None, "2 outputs and y_pred 1"),
        (ROWS_Y, ROWS_P, [1, 1, -1], "not negative"),
        (ROWS_Y, [[1, 2], [3], [4, 5]], None, "rows of y_pred differ in length"),
        ({"a": [1, 2], "b": [1]}, ROWS_P, None, "differ in length"),
        (Y, P, None, "1 outputs and 2 states"),
        (numpy.zeros((2, 2, 2)), ROWS_P, None, "3 dimensions"),
    ):
        with pytest.raises(ValueError, match=message):
            update_columns(y, p, weight, into=states)
        assert states == OUTPUTS


def test_tables_without_rows_or_columns():
    assert update_columns(numpy.zeros((0, 3)), numpy.zeros((0, 3))) == [ErrorStats()] * 3
    assert update_columns(numpy.zeros((3, 0)), numpy.zeros((3, 0))) == []
    assert update_columns([], []) == [ErrorStats()]
    assert split_columns({}) == []


def test_no_library_is_imported(monkeypatch):
    found = []
    real = builtins.__import__

    def watched(name, *rest, **options):
        found.append(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", watched)
    as_buffer(iter([1.0]))
    split_columns([[1.0]])
    assert not {"numpy", "pandas", "polars", "pyarrow"} & set(found)
