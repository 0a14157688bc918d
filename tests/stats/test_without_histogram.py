"""States without a histogram: moments as ever, no figure that needs counts, never half a count."""

import copy
import math
import pickle

import pytest
from hypothesis import given
from stats.reference import ReferenceStats
from stats.test_monoid import SAMPLES, folded

from edgemse import ErrorStats
from edgemse.errors import CorruptStateError
from edgemse.stats.figures import FIGURES


def bare(samples) -> ErrorStats:
    return ErrorStats.from_bytes(folded(samples).to_bytes(histogram=False))


def bits(s: ErrorStats) -> list[str]:
    return [float(x).hex() for x in s.moments()]


@given(SAMPLES)
def test_the_bytes_are_canonical_and_tell_the_same_moments(samples):
    whole, s = folded(samples), bare(samples)
    raw = s.to_bytes()
    assert raw == whole.to_bytes(histogram=False)
    assert ErrorStats.from_bytes(raw).to_bytes() == raw
    assert ReferenceStats.from_bytes(raw).to_bytes() == raw
    assert bits(s) == bits(whole)
    assert (s == whole) == (whole.count == 0)
    assert s.has_histogram == (whole.count == 0)
    assert whole.has_histogram
    assert [getattr(s, name) for name in FIGURES] == pytest.approx(
        [getattr(whole, name) for name in FIGURES], rel=0, abs=0, nan_ok=True
    )
    for twin in (
        s.copy(),
        copy.deepcopy(s),
        pickle.loads(pickle.dumps(s)),
        ErrorStats.from_moments(whole.moments(), None),
        ErrorStats.from_moments(whole.moments(), b""),
        ErrorStats.from_moments(s.moments(), s.histogram),
    ):
        assert twin == s
        assert twin.to_bytes() == raw


@given(SAMPLES, SAMPLES)
def test_updates_and_batches_go_on_alike(first, second):
    whole, s = ErrorStats.from_bytes(folded(first).to_bytes()), bare(first)
    for sample in second:
        whole.update(*sample)
        s.update(*sample)
    if second:
        columns = tuple(zip(*second, strict=True))
        whole.update_many(*columns)
        s.update_many(*columns)
        whole.update_many(*columns[:2])
        s.update_many(*columns[:2])
    assert bits(s) == bits(whole)
    if folded(first).count:
        assert s.histogram is None
    else:
        assert s == whole


@given(SAMPLES, SAMPLES)
def test_what_it_merges_with_has_none_either(first, second):
    whole, s, other = folded(first), bare(first), folded(second)
    left, right = s.copy(), other.copy()
    left.merge(other)
    right.merge(s)
    whole.merge(other)
    assert left.to_bytes() == right.to_bytes()
    assert bits(left) == bits(whole)
    assert left.has_histogram == (s.count == 0)
    if not s.count or not other.count:
        assert left.has_histogram == (left == whole)
    twice = s.copy()
    twice.merge(twice)
    assert twice.has_histogram == s.has_histogram


def test_nothing_is_known_of_quantiles_and_shares():
    s = bare([(0.0, float(i), 1.0) for i in range(30)])
    for q in (0.0, 0.5, 1.0):
        assert math.isnan(s.quantile(q))
        assert math.isnan(s.abs_quantile(q))
    for t in (-1.0, 0.0, 3.0, 1e9):
        assert math.isnan(s.share_above(t))
    assert all(map(math.isnan, (*s.mse_interval(), *s.rmse_interval())))
    assert s.mse_standard_error > 0.0
    assert math.isnan(s.to_dict()["abs_p50"])
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="share"):
            s.quantile(q)
    with pytest.raises(ValueError, match="NaN"):
        s.share_above(math.nan)
    same = bare([(0.0, 2.0, 1.0)] * 30)
    assert same.mse_interval() == (4.0, 4.0)


def test_a_long_batch_leaves_no_count_behind():
    s = bare([(0.0, 1.0, 1.0)])
    whole = ErrorStats.from_bytes(folded([(0.0, 1.0, 1.0)]).to_bytes())
    for each in (s, whole):
        each.update_many(range(40_000), [y + 0.5 for y in range(40_000)])
    assert bits(s) == bits(whole)
    assert s.__sizeof__() < whole.__sizeof__()


def test_bytes_that_claim_what_cannot_be():
    raw = folded([(1.0, 3.5, 1.0)]).to_bytes(histogram=False)
    assert raw[2:5].hex() == "88bc10"  # the mask of docs/wire.md's vector, and bit 18
    with pytest.raises(CorruptStateError):
        ErrorStats.from_bytes(raw + b"\x00")
    for n in range(len(raw)):
        with pytest.raises(CorruptStateError):
            ErrorStats.from_bytes(raw[:n])
    with pytest.raises(CorruptStateError):  # an empty state, and without histogram
        ErrorStats.from_bytes(bytes.fromhex("0100808010"))
