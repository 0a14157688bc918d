"""Merging: what is counted is exact, and reads change nothing; test_conformance.py has the rest."""

import math
import pickle
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stats.reference import ReferenceStats
from stats.samples import SEED

from edgemse import ErrorStats, ResidualHistogram, merge_all

NUMBERS = st.one_of(
    st.floats(-1e6, 1e6), st.floats(), st.sampled_from([0.0, -0.0, 1e-320, 1e300, math.nan])
)
WEIGHTS = st.sampled_from([1.0, 1.0, 1.0, 0.5, 3.0, 0.0, math.nan, 2.0**-100, 2.0**101])
SAMPLES = st.lists(st.tuples(NUMBERS, NUMBERS, WEIGHTS), max_size=50)


def folded(samples, kind=ErrorStats):
    s = kind()
    for y, p, w in samples:
        s.update(y, p, w)
    return s


@given(SAMPLES, SAMPLES, SAMPLES)
def test_what_is_counted_is_exact_in_any_order(a, b, c):
    states = [folded(x) for x in (a, b, c)]
    left, right = merge_all(states), merge_all([states[2], merge_all(states[:2])])
    right_first = merge_all([states[0], merge_all(states[1:])])
    for other in (right, right_first, folded(a + b + c)):
        assert other.histogram == left.histogram
        for name in ("count", "nonfinite", "out_of_range", "min_error", "max_error"):
            assert getattr(other, name) == pytest.approx(
                getattr(left, name), abs=0, rel=0, nan_ok=True
            )
        # Twice the bound of docs/numerics.md, which holds while squares do not underflow.
        assert math.isclose(other.mse, left.mse, rel_tol=2e-15, abs_tol=2.0**-900) or not left.count


@given(SAMPLES, SAMPLES)
def test_looking_changes_no_later_bit(first, second):
    looked, not_looked = folded(first), folded(first)
    looked.to_bytes()
    repr(looked)
    looked.mse_interval()
    looked.quantile(0.5)
    assert looked == not_looked
    for y, p, w in second:
        looked.update(y, p, w)
        looked.rmse  # noqa: B018 - the read is what is tested
        not_looked.update(y, p, w)
    assert looked.to_bytes() == not_looked.to_bytes()


@given(SAMPLES)
def test_the_reference_agrees(samples):
    s, r = folded(samples), folded(samples, ReferenceStats)
    assert (s.count, s.nonfinite, s.out_of_range) == (r.count, r.nonfinite, r.out_of_range)
    assert s.mse == pytest.approx(r.mse, rel=1e-15, nan_ok=True)
    m = ErrorStats.from_bytes(r.to_bytes())
    assert m.histogram == s.histogram
    assert (m.min_error, m.max_error) == pytest.approx(
        (s.min_error, s.max_error), rel=0, abs=0, nan_ok=True
    )


def test_merging_with_itself_doubles():
    s = folded([(0.0, 1.0, 1.0), (1.0, 0.5, 1.0)])
    s.merge(s)
    assert (s.count, s.mse, s.histogram.count) == (4, 0.625, 4)
    h = s.histogram
    h.merge(h)
    assert h.count == 8


def test_empty():
    s = ErrorStats()
    s.merge(ErrorStats())
    assert (s.count, s.weight, s.effective_count, s.nonfinite, s.out_of_range) == (0, 0, 0, 0, 0)
    for name in [
        "mse",
        "rmse",
        "bias",
        "error_variance",
        "skewness",
        "kurtosis",
        "mae",
        "r2",
        "nrmse",
        "correlation",
        "calibration_slope",
        "min_error",
        "max_error",
        "mse_standard_error",
    ]:
        assert math.isnan(getattr(s, name)), name
    figures = [
        s.quantile(0.5),
        s.abs_quantile(1.0),
        s.share_above(1.0),
        *s.mse_interval(),
        *s.rmse_interval(),
    ]
    assert all(map(math.isnan, figures))
    assert repr(s) == "ErrorStats(n=0, rmse=nan)"
    assert merge_all([]) == s


def test_one_object_stays_small():
    rng = random.Random(SEED)
    s = ErrorStats()
    for _ in range(6000):
        s.update(0.0, rng.gauss(0.1, 1))
    assert sys.getsizeof(s) <= 2560  # 2.5 KiB, waiting samples and histogram included


def test_pickle_equality_and_types():
    s = folded([(1.0, 2.0, 1.0)] * 20)
    assert pickle.loads(pickle.dumps(s)) == s
    assert pickle.loads(pickle.dumps(s.histogram)) == s.histogram
    assert s != folded([(1.0, 2.5, 1.0)] * 20)
    assert s != 3
    for bad in (None, 3, b"", s.histogram):
        with pytest.raises(TypeError):
            s.merge(bad)
        with pytest.raises(TypeError):
            merge_all([s, bad])
    for unhashable in (s, s.histogram):
        with pytest.raises(TypeError, match="unhashable"):
            hash(unhashable)
    assert s.merge(ErrorStats()) is None
    assert ResidualHistogram() != s


def test_more_samples_than_doubles_count_are_refused():
    s = folded([(0.0, 1.0, 1.0)])
    for _ in range(53):
        s.merge(s)
    assert s.count == 2**53
    assert ErrorStats.from_bytes(s.to_bytes()) == s
    with pytest.raises(OverflowError):
        s.merge(s)
