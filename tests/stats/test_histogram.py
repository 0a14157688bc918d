"""The histogram: OpenTelemetry's bounds by integers, a cut that commutes, quantiles and shares."""

import bisect
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stats.reference import ReferenceStats, bucket_index
from stats.samples import SEED

from edgemse import ErrorStats, ResidualHistogram

POSITIVE = st.floats(min_value=5e-324, max_value=2.0**200)
ONE_ERROR = st.one_of(
    st.floats(-(2.0**200), 2.0**200),
    st.integers(-1074, 200).map(lambda k: math.ldexp(1.0, k)),
    st.integers(-1074, 200).map(lambda k: -math.ldexp(1.0, k)),
)
ERRORS = st.lists(ONE_ERROR, max_size=40)


def counted(errors) -> ResidualHistogram:
    h = ResidualHistogram()
    for e in errors:
        h.update(e)
    return h


def index_of(magnitude: float) -> int:
    h = counted([magnitude])
    assert h.positive()[1] == [1]
    return h.positive()[0]


def largest_double_of_bucket(i: int) -> float:
    """The largest double <= 2^((i + 1)/8), by exact integers."""
    octave, eighth = divmod(i + 1, 8)
    low, high = 1 << 52, 1 << 53
    while high - low > 1:
        middle = (low + high) // 2
        if middle**8 <= 1 << (52 * 8 + eighth):
            low = middle
        else:
            high = middle
    return math.ldexp(low, octave - 52)


@pytest.mark.parametrize("octave", [-1022, -1000, -500, -1, 0, 1, 7, 199])
def test_every_bound_is_inclusive_above_and_exact(octave):
    for i in range(8 * octave - 1, 8 * octave + 7):
        bound = largest_double_of_bucket(i)
        assert index_of(bound) == i
        assert index_of(math.nextafter(bound, math.inf)) == i + 1


@given(POSITIVE)
def test_the_bucket_is_that_of_exact_integers(magnitude):
    i = index_of(magnitude)
    assert i == bucket_index(magnitude)
    eighth = magnitude.as_integer_ratio()
    n, d = eighth[0] ** 8, eighth[1] ** 8
    assert (1 << max(i, 0)) * d < n << max(-i, 0)
    assert n << max(-i - 1, 0) <= (1 << max(i + 1, 0)) * d
    assert counted([-magnitude]).negative() == (i, [1])


@pytest.mark.parametrize("tiny", [5e-324, 1e-323, 2.0**-1022, math.nextafter(2.0**-1022, 0.0)])
def test_subnormals(tiny):
    assert index_of(tiny) == bucket_index(tiny)


@given(ERRORS, st.randoms(use_true_random=False))
def test_the_cut_commutes_with_merging(errors, rng):
    """Folding into the zero bucket early, late, or never until read ends in the same counts."""
    reference = ReferenceStats()
    for e in errors:
        reference.update(0.0, e)
    zero, (positive, negative) = reference.folded()
    pieces = [counted(errors[i::5]) for i in range(5)]
    rng.shuffle(pieces)
    while len(pieces) > 1:
        pieces[0].merge(ResidualHistogram.from_bytes(pieces.pop().to_bytes()))
        rng.shuffle(pieces)
    shuffled = rng.sample(errors, len(errors))
    for h in (counted(errors), counted(shuffled), pieces[0]):
        assert h == counted(errors)
        assert h.to_bytes() == counted(errors).to_bytes()
        assert h.zero_count == zero
        for (offset, counts), want in ((h.positive(), positive), (h.negative(), negative)):
            assert len(counts) <= 512
            assert Counter({offset + k: n for k, n in enumerate(counts) if n}) == Counter(want)


def test_the_cut_is_64_octaves_below_the_largest_of_either_sign():
    low, high = 2.0**-63.9, 2.0**-64
    h = counted([low, high, -high, -1.0])
    assert (h.zero_count, h.count) == (2, 4)
    assert h.zero_threshold == high
    h.update(1e30)
    assert (h.zero_count, h.positive()[1], h.negative()[1]) == (4, [1], [])
    assert counted([]).zero_threshold == 0.0


def largest_double_up_to(i: int) -> float:
    """The largest double <= 2^(i/8), subnormal or not, by exact integers."""
    octave, eighth = divmod(i, 8)
    digits = min(52, octave + 1074)
    if digits < 0:
        return 0.0
    low, high = 1 << digits, 2 << digits
    while high - low > 1:
        middle = (low + high) // 2
        if middle**8 <= 1 << (digits * 8 + eighth):
            low = middle
        else:
            high = middle
    return math.ldexp(low, octave - digits)


def test_the_zero_threshold_is_the_bound_itself_at_every_top():
    """No error above it was counted as zero, none up to it would be counted elsewhere."""
    for top in range(-8593, 1600):
        inside = largest_double_up_to(top + 1)
        if inside == largest_double_up_to(top):
            continue  # no double lies in that bucket
        h = counted([inside])
        assert h.positive()[0] == top
        threshold = h.zero_threshold
        assert threshold == largest_double_up_to(top - 511)
        above = math.nextafter(threshold, math.inf)
        if above <= 2.0**200:
            h.update(above)
            assert h.zero_count == 0
        if threshold:
            h.update(-threshold)
            assert h.zero_count == 1


def test_the_second_sample_above_the_threshold_is_no_zero():
    h = counted([1.40 * 2.0**64, float.fromhex("0x1.6a09e667f3bcdp+0")])
    assert h.zero_count == 0
    assert h.zero_threshold == float.fromhex("0x1.6a09e667f3bccp+0")


@pytest.mark.parametrize("octave", [0, -70])
def test_shares_and_quantiles_take_the_same_bounds(octave):
    """Just above a bound lies the next bucket, whichever way the nearest double rounds."""
    for i in range(8 * octave, 8 * octave + 8):
        bound = largest_double_up_to(i)
        above = math.nextafter(bound, math.inf)
        h = counted([bound] * 3 + [above] * 5 + [2.0 * above] * 2)
        assert h.share_above(bound) == 0.7
        assert h.abs_quantile(0.3) == bound
        assert h.share_above(above) == pytest.approx(0.7, rel=1e-12)
        cut = counted([2.0**64 * bound] * 2 + [above] * 2)
        assert cut.zero_count == 0
        low, high = cut.share_above_bounds(above)
        assert (low, high) == (0.5, 1.0)
        assert cut.share_above(above) == pytest.approx(1.0, rel=1e-12)


def test_more_errors_than_doubles_count_are_refused():
    h = counted([1.0])
    for _ in range(53):
        h.merge(h)
    assert ResidualHistogram.from_bytes(h.to_bytes()).count == 2**53
    with pytest.raises(OverflowError):
        h.merge(counted([1.0]))
    assert h.count == 2**53
    for kind in (ResidualHistogram, ErrorStats):
        with pytest.raises(TypeError):
            kind([1.0], [2.0])


def test_refused_errors():
    h = ResidualHistogram()
    for bad in (math.nan, math.inf, -math.inf, 2.0**201):
        with pytest.raises(ValueError, match="finite"):
            h.update(bad)
    with pytest.raises(TypeError):
        h.update("1")
    with pytest.raises(TypeError):
        h.merge(None)
    assert h.count == 0
    assert repr(h) == "ResidualHistogram(n=0, zero=0)"


def uneven(rng, i):
    return rng.choice(
        (0.0, -0.0, 1e-310, rng.gauss(0, 1), rng.gauss(0, 1) * 10 ** rng.uniform(-30, 30))
    )


BATCHES = {
    "uneven": uneven,
    "normal": lambda rng, _: rng.gauss(0, 1),
    "growing": lambda rng, i: rng.gauss(0, 1) * 1.01**i,
    "shrinking": lambda rng, i: rng.gauss(0, 1) * 0.99**i,
    "bounds": lambda rng, _: rng.choice((1, -1)) * math.ldexp(1.0, rng.randrange(-70, 5)),
    "zeros, then ones": lambda _, i: float(i > 3000),
    "subnormal": lambda rng, _: 5e-324 * rng.randrange(-9, 9),
    "subnormal and not": lambda rng, _: rng.choice((5e-324, -(2.0**-1000), 2.0**-1022)),
}


@pytest.mark.parametrize("draw", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("n", [1000, 5003, 20_000])
def test_batches_count_what_single_updates_count(draw, n):
    rng = random.Random(SEED)
    errors = [draw(rng, i) for i in range(n)]
    errors = [e for e in errors if abs(e) <= 2.0**200]
    s = ErrorStats()
    s.update_many([0.0] * len(errors), errors)
    assert s.histogram == counted(errors)
    assert s.histogram.to_bytes() == counted(errors).to_bytes()


@given(ERRORS.filter(bool), st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_of_its_sample(errors, q):
    s = ErrorStats()
    s.update_many([0.0] * len(errors), errors)
    for got, values in (
        (s.quantile(q), sorted(errors)),
        (s.abs_quantile(q), sorted(map(abs, errors))),
    ):
        rank = q * len(values)
        around = [values[max(0, math.ceil(rank) - 1)], values[min(len(values) - 1, int(rank))]]
        threshold = s.histogram.zero_threshold
        low = min(around) - 0.0906 * abs(min(around)) - threshold
        high = max(around) + 0.0906 * abs(max(around)) + threshold
        assert low <= got <= high
    assert (s.quantile(0.0), s.quantile(1.0)) == (min(errors), max(errors))
    assert s.abs_quantile(1.0) == max(map(abs, errors))


@given(ERRORS.filter(bool), st.floats(0, 2.0**201))
def test_share_above_lies_between_its_bounds(errors, t):
    s = ErrorStats()
    s.update_many([0.0] * len(errors), errors)
    low, high = s.histogram.share_above_bounds(t)
    true = sum(abs(e) > t for e in errors) / len(errors)
    assert low <= true <= high
    assert low <= s.histogram.share_above(t) <= high
    assert 0.0 <= s.share_above(t) <= high
    if t >= s.abs_quantile(1.0):
        assert s.share_above(t) == 0.0


def test_share_above_a_bound_is_exact():
    rng = random.Random(SEED)
    errors = [rng.gauss(0, 1) for _ in range(4000)] + [1.0, -1.0, 2.0, 0.5]
    s = ErrorStats()
    s.update_many([0.0] * len(errors), errors)
    for k in range(-24, 12):
        t = largest_double_of_bucket(k)
        assert s.share_above(t) == sum(abs(e) > t for e in errors) / len(errors)
    assert s.share_above(-1.0) == 1.0
    assert s.share_above(0.0) == 1.0
    assert s.share_above(math.inf) == 0.0
    for h in (s, s.histogram):
        with pytest.raises(ValueError, match="NaN"):
            h.share_above(math.nan)
        for q in (-0.1, 1.1, math.nan):
            with pytest.raises(ValueError, match="share"):
                h.quantile(q)
            with pytest.raises(ValueError, match="share"):
                h.abs_quantile(q)
    empty = ResidualHistogram()
    assert all(
        map(
            math.isnan,
            (
                empty.share_above(1.0),
                empty.quantile(0.5),
                empty.abs_quantile(0.5),
                *empty.share_above_bounds(1.0),
            ),
        )
    )


def test_smooth_data_interpolates_well():
    rng = random.Random(SEED)
    errors = [rng.gauss(0, 1) for _ in range(200_000)]
    s = ErrorStats()
    s.update_many([0.0] * len(errors), errors)
    magnitudes = sorted(map(abs, errors))
    for q in (0.1, 0.5, 0.9, 0.99, 0.999):
        assert s.abs_quantile(q) == pytest.approx(magnitudes[int(q * len(errors))], rel=0.01)
    for t in (0.3, 0.7, 1.1, 1.7, 2.3):
        above = len(errors) - bisect.bisect_right(magnitudes, t)
        assert s.share_above(t) == pytest.approx(above / len(errors), rel=0.02)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 40.0])
def test_the_kurtosis_of_squares_is_that_of_buckets_filled_evenly(unit):
    """Of a uniform law it is 15/7: moments of e^2 are 1/3, 1/5, 1/7, 1/9."""
    h = counted([(k + 0.5) / 5_000 for k in range(-5_000, 5_000)])
    want = (1 / 9 - 4 / 7 / 3 + 6 / 5 / 9 - 3 / 81) / (1 / 5 - 1 / 9) ** 2
    assert h.square_kurtosis(unit) == pytest.approx(want, rel=2e-3)
    assert counted([0.0, 0.0]).square_kurtosis(unit) == 1.0
    assert math.isnan(ResidualHistogram().square_kurtosis(unit))


@pytest.mark.parametrize("unit", [0.0, -1.0, math.inf, math.nan])
def test_a_kurtosis_has_a_unit(unit):
    with pytest.raises(ValueError, match="positive and finite"):
        counted([1.0]).square_kurtosis(unit)
