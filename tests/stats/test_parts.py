"""Bytes taken to pieces: the halves of a state, the columns of a coverage."""

import pathlib
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stats.test_monoid import SAMPLES, folded

from edgemse import Coverage, ErrorStats, ResidualHistogram
from edgemse.errors import CorruptStateError, StateError, UnsupportedVersionError
from edgemse.stats.moments import Moments
from edgemse.stats.parts import join_coverage, split_coverage, split_state

LAGS = st.lists(st.one_of(st.integers(0, 10**6), st.sampled_from([0, 1, 2**40, 2**53 - 1])))
COUNTS = st.tuples(*[st.integers(0, 3)] * 5)
EMPTY = ResidualHistogram().to_bytes()


def covered(counts, lags) -> Coverage:
    coverage = Coverage()
    for name, n in zip(
        ("predictions", "expired", "orphan", "duplicate", "conflicting"), counts, strict=True
    ):
        setattr(coverage, name, n)
    for lag_ms in lags:
        coverage.match(lag_ms)
    return coverage


@given(SAMPLES)
def test_the_halves_of_a_state_are_its_moments_and_its_histogram(samples):
    s = folded(samples)
    for raw in (s.to_bytes(), bytearray(s.to_bytes()), memoryview(s.to_bytes())):
        moments, histogram = split_state(raw)
        assert type(moments) is Moments
        assert moments == s.moments()
        assert histogram == s.histogram.to_bytes()
    again = ErrorStats.from_moments(moments, histogram)
    assert again == s
    assert again.to_bytes() == s.to_bytes()
    moments, histogram = split_state(s.to_bytes(histogram=False))
    assert moments == s.moments()
    assert histogram == (b"" if s.count else EMPTY)
    assert ErrorStats.from_moments(moments, histogram).has_histogram == (s.count == 0)


@given(
    SAMPLES, st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3)
)
@settings(max_examples=200)
def test_splitting_refuses_what_reading_refuses(samples, changes):
    raw = bytearray(folded(samples).to_bytes())
    for at, change in changes:
        raw[at % len(raw)] ^= change
    try:
        s = ErrorStats.from_bytes(raw)
    except StateError as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            split_state(raw)
        return
    assert split_state(raw)[0] == s.moments()


def test_halves_that_do_not_fit():
    one, two = folded([(0.0, 1.0, 1.0)]), folded([(0.0, 1.0, 1.0), (0.0, 9.0, 1.0)])
    moments, histogram = split_state(one.to_bytes())
    with pytest.raises(CorruptStateError, match="do not fit"):
        ErrorStats.from_moments(moments, two.histogram.to_bytes())
    with pytest.raises(CorruptStateError, match="cut short"):
        ErrorStats.from_moments(moments, histogram[:-1])
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        ErrorStats.from_moments(moments, b"\x42" + histogram[1:])
    for wrong in ("", 3, [1]):
        with pytest.raises(TypeError):
            split_state(wrong)


@given(COUNTS, LAGS)
def test_a_coverage_and_its_bytes(counts, lags):
    coverage = covered(counts, lags)
    raw = coverage.to_bytes()
    assert (raw == b"") == (not coverage)
    assert split_coverage(raw) == coverage.to_row()
    assert split_coverage(memoryview(raw)) == coverage.to_row()
    assert join_coverage(split_coverage(raw)) == raw
    for twin in (
        Coverage.from_bytes(raw),
        Coverage.from_bytes(bytearray(raw)),
        coverage.copy(),
        pickle.loads(pickle.dumps(coverage)),
    ):
        assert twin == coverage
        assert twin.to_bytes() == raw
        twin.match(7)
        assert twin != coverage


@given(
    COUNTS,
    LAGS,
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3),
    st.integers(0, 3),
)
@settings(max_examples=300)
def test_altered_coverages_are_refused_or_are_another_one(counts, lags, changes, cut):
    raw = bytearray(covered((1, *counts[1:]), lags).to_bytes())
    for at, change in changes:
        raw[at % len(raw)] ^= change
    raw = bytes(raw[: len(raw) - cut])
    try:
        coverage = Coverage.from_bytes(raw)
    except StateError:
        return
    assert coverage.to_bytes() == raw


def test_every_cut_and_every_appendix_of_a_coverage_is_refused():
    raw = covered((3, 0, 1, 0, 0), [250, 400, 0]).to_bytes()
    for wrong in (*(raw[:n] for n in range(1, len(raw))), raw + b"\0", bytes(8) + EMPTY):
        with pytest.raises(CorruptStateError):
            Coverage.from_bytes(wrong)
    for wrong in ("", 3, None):
        with pytest.raises(TypeError):
            Coverage.from_bytes(wrong)


def histogram_of(*errors) -> bytes:
    h = ResidualHistogram()
    for e in errors:
        h.update(e)
    return h.to_bytes()


INCONSISTENT = {
    "more lags than matches": (1, 1, 0, 0, 0, 0, 500, 250, histogram_of(0.25, 0.25)),
    "a maximum above the sum": (1, 1, 0, 0, 0, 0, 249, 250, histogram_of(0.25)),
    "a sum beyond the maximum": (1, 1, 0, 0, 0, 0, 251, 250, histogram_of(0.25)),
    "a sum without a match": (1, 0, 0, 0, 0, 0, 5, 5, EMPTY),
    "a sum of no lag": (1, 1, 0, 0, 0, 0, 5, 0, histogram_of(0.0)),
    "a lag below 0": (1, 1, 0, 0, 0, 0, 250, 250, histogram_of(-0.25)),
    "another longest lag": (1, 1, 0, 0, 0, 0, 250, 250, histogram_of(0.5)),
    "a longest lag that is counted as none": (1, 1, 0, 0, 0, 0, 250, 250, histogram_of(0.0)),
    "a lag where none is": (1, 1, 0, 0, 0, 0, 0, 0, histogram_of(0.25)),
}


@pytest.mark.parametrize("name", INCONSISTENT)
def test_coverages_that_do_not_fit_are_refused(name):
    raw = join_coverage(INCONSISTENT[name])
    with pytest.raises(CorruptStateError, match="which fit each other"):
        split_coverage(raw)


def test_counts_that_no_varint_holds():
    largest = (2**63 - 1, *[0] * 7, EMPTY)
    assert split_coverage(join_coverage(largest)) == largest
    for number in (-1, 2**63):
        with pytest.raises(OverflowError):
            join_coverage((number, *[0] * 7, EMPTY))


@pytest.mark.parametrize("name", ["predictions", "conflicting", "lag_ms_sum"])
def test_a_merge_that_no_bytes_hold_changes_nothing(name):
    coverage = covered((3, 0, 1, 0, 0), [250, 500])
    setattr(coverage, name, 2**62)
    before = coverage.to_row()
    with pytest.raises(OverflowError, match=f"{name} would be {2**63}"):
        coverage.merge(coverage.copy())
    assert coverage.to_row() == before


def test_a_merge_of_more_lags_than_doubles_count_changes_nothing():
    coverage = covered((3, 0, 1, 0, 0), [250])
    for _ in range(53):
        coverage.merge(coverage)
    before = coverage.to_row()
    assert coverage.matched == 2**53
    with pytest.raises(OverflowError, match=r"2\*\*53"):
        coverage.merge(coverage.copy())
    assert coverage.to_row() == before
    assert Coverage.from_bytes(coverage.to_bytes()) == coverage


def test_the_vector_of_the_documentation():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    (block,) = re.findall(r"<!-- vector: coverage -->\n```\n(.*?)```", text, re.DOTALL)
    coverage = covered((3, 0, 1, 0, 0), [0, 250, 500])
    assert coverage.to_bytes() == bytes.fromhex("".join(block.split()))
