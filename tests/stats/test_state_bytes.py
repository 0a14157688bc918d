"""The bytes: exact, canonical, small, and safe to read from strangers."""

import json
import math
import pathlib
import random
import re
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stats.reference import ReferenceStats
from stats.samples import SEED, in_batches, one_by_one
from stats.test_monoid import SAMPLES, folded

from edgemse import ErrorStats, ResidualHistogram
from edgemse.errors import CorruptStateError, StateError, UnsupportedVersionError
from edgemse.stats.moments import Moments

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden_v1.json").read_text())


def window(n, with_labels=False):
    rng = random.Random(SEED)
    errors = [rng.gauss(0.1, 1) for _ in range(n)]
    return one_by_one(errors, [rng.gauss(20, 5) for _ in range(n)] if with_labels else None)


@given(SAMPLES)
def test_round_trip_is_exact_and_canonical(samples):
    s = folded(samples)
    raw = s.to_bytes()
    again = ErrorStats.from_bytes(raw)
    assert again == s
    assert again.to_bytes() == raw
    assert again.moments() == s.moments()
    h = s.histogram
    assert ResidualHistogram.from_bytes(h.to_bytes()) == h


@given(SAMPLES)
def test_moments_and_histogram_make_the_state_again(samples):
    s = folded(samples)
    again = ErrorStats.from_moments(s.moments(), s.histogram)
    assert again.to_bytes() == s.to_bytes()
    assert ErrorStats.from_moments(tuple(s.moments()), s.histogram) == s


@given(SAMPLES)
@example([(0.0, -1e-41, 1.0), (428080.0234375, 0.0, 3.0)])  # a rest that rounds to half an ulp
def test_the_reference_reads_and_writes_the_same_bytes(samples):
    raw = folded(samples).to_bytes()
    assert ReferenceStats.from_bytes(raw).to_bytes() == raw
    written = folded(samples, ReferenceStats).to_bytes()
    assert ErrorStats.from_bytes(written).to_bytes() == written


@given(
    SAMPLES, st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3)
)
@settings(max_examples=300)
def test_altered_bytes_are_refused_or_are_another_state(samples, changes):
    raw = bytearray(folded(samples).to_bytes())
    for at, change in changes:
        raw[at % len(raw)] ^= change
    raw = bytes(raw)
    try:
        s = ErrorStats.from_bytes(raw)
    except StateError:
        return
    assert s.to_bytes() == raw


@given(st.binary(max_size=400))
@example(b"")
@example(b"\x01\x00\x00\x00")
@example(b"\x01\x01" + b"\xff" * 20)
@settings(max_examples=300)
def test_arbitrary_bytes_raise_only_the_typed_error(junk):
    for kind, first in ((ErrorStats, b""), (ErrorStats, b"\x01"), (ResidualHistogram, b"\x41")):
        try:
            s = kind.from_bytes(first + junk)
        except StateError:
            continue
        assert s.to_bytes() == first + junk


def test_every_cut_and_every_appendix_is_refused():
    for s in (window(300, with_labels=True), window(3).histogram):
        raw = s.to_bytes()
        for n in range(len(raw)):
            with pytest.raises(CorruptStateError):
                type(s).from_bytes(raw[:n])
        with pytest.raises(CorruptStateError):
            type(s).from_bytes(raw + b"\x00")


def test_versions_and_types():
    raw = window(3).to_bytes()
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        ErrorStats.from_bytes(b"\x02" + raw[1:])
    with pytest.raises(CorruptStateError):
        ErrorStats.from_bytes(b"\x00" + raw[1:])
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        ResidualHistogram.from_bytes(b"\x42")
    with pytest.raises(CorruptStateError):
        ResidualHistogram.from_bytes(raw)
    for wrong in (None, "text", 5, 1.0, [1]):
        with pytest.raises(TypeError):
            ErrorStats.from_bytes(wrong)
        with pytest.raises(TypeError):
            ResidualHistogram.from_bytes(wrong)
    for same in (bytearray(raw), memoryview(raw)):
        assert ErrorStats.from_bytes(same) == window(3)


def test_sizes():
    assert len(ErrorStats().to_bytes()) == 3
    assert len(window(10).to_bytes()) <= 160
    assert len(window(10, with_labels=True).to_bytes()) <= 160
    assert len(window(6000).to_bytes()) <= 300
    assert len(window(6000, with_labels=True).to_bytes()) <= 300


def test_huge_counts_and_wide_gaps():
    h = ResidualHistogram()
    for e in (1.0, -1e-15, 2.0**60, 1e-300, 5e-324):
        h.update(e)
    for _ in range(49):
        h.merge(h)
    assert h.count == 5 * 2**49
    assert ResidualHistogram.from_bytes(h.to_bytes()) == h


INCONSISTENT = {
    "count above the histogram's": {"count": 51, "weight": 51.0, "weight2": 51.0},
    "negative m2": {"m2": -1.0},
    "m2 beyond the range": {"m2": 1e6},
    "mean outside the range": {"mean": 1e3},
    "mean not finite": {"mean": math.nan},
    "an infinite fourth moment": {"m4": math.inf},
    "lo larger than the rounding of hi": {"mean_lo": 0.5},
    "negative zero": {"m3": -0.0},
    "a range the histogram contradicts": {"max_error": 40.0},
    "range upside down": {"min_error": 5.0, "max_error": -5.0},
    "no weight": {"weight": 0.0},
    "weights beyond Cauchy-Schwarz": {"weight2": 1.0},
    "absolute sum below the mean's": {"abs_sum": 0.0},
    "refusals below zero": {"nonfinite": -1},
    "too many refusals": {"out_of_range": 2**60},
}


@pytest.mark.parametrize("name", INCONSISTENT)
def test_moments_that_do_not_fit_are_refused(name):
    s = window(50)
    changed = s.moments()._replace(**INCONSISTENT[name])
    with pytest.raises(CorruptStateError):
        ErrorStats.from_moments(changed, s.histogram)


def test_moments_without_their_histogram():
    with pytest.raises(CorruptStateError):
        ErrorStats.from_moments(ErrorStats().moments(), window(5).histogram)
    empty = ErrorStats.from_moments(ErrorStats().moments(), None)
    assert empty == ErrorStats()
    assert empty.moments() == Moments(0, *[0.0] * 10, math.inf, -math.inf, *[0.0] * 6, 0, 0)
    with pytest.raises(TypeError):
        ErrorStats.from_moments(None, None)
    with pytest.raises((TypeError, ValueError)):
        ErrorStats.from_moments((1, 2), None)
    assert Moments._fields == (
        "count",
        "weight",
        "weight_lo",
        "weight2",
        "mean",
        "mean_lo",
        "m2",
        "m2_lo",
        "m3",
        "m4",
        "abs_sum",
        "min_error",
        "max_error",
        "y_mean",
        "y_mean_lo",
        "y_m2",
        "y_m2_lo",
        "y_e",
        "y_e_lo",
        "nonfinite",
        "out_of_range",
    )


def from_recipe(recipe) -> ErrorStats:
    """Golden inputs are written as hex so that nobody's decimal reader matters."""
    s = ErrorStats()
    for sample in zip(*[map(float.fromhex, recipe)] * 3, strict=True):
        s.update(*sample)
    return s


@pytest.mark.parametrize("name", [name for name in GOLDEN if name != "batch"])
def test_golden_bytes_are_read_and_written_for_ever(name):
    golden = GOLDEN[name]
    raw = bytes.fromhex(golden["bytes"])
    s = ErrorStats.from_bytes(raw)
    assert s.to_bytes() == raw
    assert [float(x).hex() for x in s.moments()] == golden["moments"]
    again = from_recipe(golden["samples"])
    assert again.to_bytes(histogram=golden.get("histogram", True)) == raw
    assert ReferenceStats.from_bytes(raw).to_bytes() == raw


def test_bits_of_a_long_batch_are_those_of_every_cpu():
    values = [math.ldexp((i * 2654435761) % 2**32 - 2**31, -29 - i % 5) for i in range(5000)]
    assert in_batches(values).to_bytes().hex() == GOLDEN["batch"]["bytes"]


def test_a_state_is_little_endian_doubles():
    s = ErrorStats()
    s.update(1.0, 3.5)
    assert s.to_bytes()[4:12] == struct.pack("<d", 2.5)


VECTORS = {
    "empty": [],
    "refused": [(math.nan, 1.0), (0.0, 1e300)],
    "one": [(1.0, 3.5)],
    "three": [(10.0, 10.5), (10.0, 9.0), (11.0, 11.5)],
    "bare": [(10.0, 10.5), (10.0, 9.0), (11.0, 11.5)],
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_of_the_documentation(name):
    text = (pathlib.Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    block = re.search(rf"<!-- vector: state {name} -->\n```\n(.*?)```", text, re.DOTALL)
    s = ErrorStats()
    for y, p in VECTORS[name]:
        s.update(y, p)
    assert bytes.fromhex("".join(block[1].split())) == s.to_bytes(histogram=name != "bare")
