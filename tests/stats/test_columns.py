"""What update_many accepts, what it refuses, and what it leaves untouched."""

import math
import threading
from array import array

import pytest

from edgemse import ErrorStats, merge_all

numpy = pytest.importorskip("numpy")

Y = [0, 1, 2, 3, 4, 5, 6]
P = [1, 1, 3, 2, 6, 5, 7]


def stats_of(y, p, weight=None) -> ErrorStats:
    s = ErrorStats()
    s.update_many(y, p, weight)
    return s


WANT = stats_of(array("d", Y), array("d", P))


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_arrays_of_every_kind(code):
    assert stats_of(array(code, Y), array(code, P)) == WANT


@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_numpy_of_every_kind_and_stride(dtype):
    y, p = numpy.array(Y, dtype), numpy.array(P, dtype)
    assert stats_of(y, p) == WANT
    assert stats_of(y[::-1], p[::-1]) == WANT
    table = numpy.zeros((len(Y), 3), dtype)
    table[:, 1], table[:, 2] = Y, P
    assert stats_of(table[:, 1], table[:, 2]) == WANT
    frozen = y.copy()
    frozen.flags.writeable = False
    assert stats_of(frozen, memoryview(p)) == WANT


def test_booleans_and_unaligned_doubles():
    flags = numpy.array([True, False, True])
    assert stats_of(flags, flags).mse == 0.0
    packed = numpy.zeros(len(Y), numpy.dtype([("pad", "i1"), ("y", "f8"), ("p", "f8")]))
    packed["y"], packed["p"] = Y, P
    assert stats_of(packed["y"], packed["p"]) == WANT


def test_sequences_and_iterables():
    assert stats_of(Y, tuple(P)) == WANT
    assert stats_of(iter(Y), (float(x) for x in P)) == WANT
    assert stats_of(range(7), P) == WANT
    assert stats_of([], []) == ErrorStats()
    assert stats_of(array("d"), array("f")) == ErrorStats()


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (numpy.array(Y, ">f8"), TypeError),
        (numpy.array(Y, ">i2"), TypeError),
        (numpy.array(Y, object), (TypeError, ValueError)),
        (numpy.array(Y, complex), TypeError),
        (numpy.array(Y, "f2"), TypeError),
        (numpy.array(Y, "M8[s]"), TypeError),
        (numpy.zeros((7, 1)), ValueError),
        (numpy.array(1.0), ValueError),
        (["1", "2", "3", "4", "5", "6", "7"], TypeError),
        ([1.0, None, 1.0, 1.0, 1.0, 1.0, 1.0], TypeError),
        (None, TypeError),
        (3.0, TypeError),
        ("abcdefg", TypeError),
        (Y[:-1], ValueError),
    ],
)
def test_unfit_columns_change_nothing(bad, error):
    s = stats_of(Y, P)
    for args in ((bad, P), (Y, bad), *([(Y, P, bad)] if bad is not None else [])):
        with pytest.raises(error):
            s.update_many(*args)
    assert s == WANT


def test_negative_weights_are_refused_whole():
    s = stats_of(Y, P)
    with pytest.raises(ValueError, match=r"weight\[3\] is -1"):
        s.update_many(Y, P, [1, 1, 1, -1, 1, 1, 1])
    with pytest.raises(ValueError, match="weight is -1"):
        s.update(0.0, 1.0, weight=-1)
    assert s == WANT


def test_weights_in_batches_are_those_of_single_updates():
    w = [1.0, 2.0, 0.0, math.nan, math.inf, 2.0**101, 2.0**-101]
    many, one = stats_of(Y, P, w), ErrorStats()
    for sample in zip(Y, P, w, strict=True):
        one.update(*sample)
    assert (many.count, many.nonfinite, many.out_of_range) == (2, 2, 2)
    assert many.histogram == one.histogram
    assert (many.mse, many.weight) == pytest.approx((one.mse, one.weight), rel=3e-16)
    ones = stats_of(Y, P, [1.0] * 7)
    assert (ones.weight, ones.histogram) == (7.0, WANT.histogram)
    assert (ones.mse, ones.bias) == pytest.approx((WANT.mse, WANT.bias), rel=3e-16)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1023, 1024, 1025, 20000])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_refused_samples_anywhere_in_a_batch(n, bad):
    y, p = [float(i % 7) for i in range(n)], [float(i % 5) for i in range(n)]
    for at in {0, n // 2, n - 1}:
        for column in (0, 1):
            columns = [list(y), list(p)]
            columns[column][at] = bad
            s = stats_of(*columns)
            rest = stats_of(
                [a for i, a in enumerate(y) if i != at], [a for i, a in enumerate(p) if i != at]
            )
            assert (s.count, s.nonfinite + s.out_of_range) == (n - 1, 1)
            assert s.out_of_range == math.isfinite(bad)
            assert s.histogram == rest.histogram
            assert s.mse == pytest.approx(rest.mse, rel=1e-14, nan_ok=True)


@pytest.mark.parametrize("limit", [2.0**200, -(2.0**200)])
def test_the_limit_itself_is_accepted(limit):
    s = stats_of([0.0, limit], [limit, limit])
    assert (s.count, s.out_of_range) == (2, 0)
    assert math.isfinite(s.mse)
    assert stats_of([0.0], [math.nextafter(limit, 2 * limit)]).out_of_range == 1
    assert ErrorStats.from_bytes(s.to_bytes()) == s


def test_update_takes_numbers_only():
    s = ErrorStats()
    s.update(y_true=1, y_pred=numpy.float32(2.0))
    for bad in ("1", None, [1.0]):
        with pytest.raises(TypeError):
            s.update(bad, 1.0)
    with pytest.raises(TypeError):
        s.update(1.0)
    assert s.count == 1


def test_threads_on_one_object_lose_nothing():
    s, other = ErrorStats(), stats_of(Y, P)
    big = numpy.linspace(0.0, 1.0, 20000)

    def work():
        for _ in range(20):
            s.update_many(big, big)
            s.merge(other)
            for _ in range(200):
                s.update(1.0, 2.0)
            assert ErrorStats.from_bytes(s.to_bytes()).count <= s.count
            other.copy()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert s.count == 4 * 20 * (20000 + 7 + 200)
    assert s.histogram.count == s.count
    assert merge_all([s]).mse == s.mse
