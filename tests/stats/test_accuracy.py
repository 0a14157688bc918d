"""Every way of folding against exact rational arithmetic on the same doubles."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stats.samples import (
    SEED,
    exact_figures,
    families,
    in_batches,
    one_by_one,
    split_and_merged,
    ulps,
    worst_ulps,
)

from edgemse import ErrorStats, merge_all

FAMILIES = families()
LIMIT_ULPS = 8  # docs/numerics.md derives 4 for variance and mse; bias is bounded by its condition
U = 2.0**-53


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("how", [one_by_one, in_batches], ids=["one by one", "in batches"])
def test_bias_variance_and_mse_are_nearly_exact(name, how):
    assert worst_ulps(how(FAMILIES[name]), FAMILIES[name]) <= LIMIT_ULPS


@pytest.mark.parametrize("name", FAMILIES)
def test_splitting_and_merging_in_any_tree_changes_nothing_that_matters(name):
    errors = FAMILIES[name]
    for parts in (2, 50, len(errors)):
        rng = random.Random(SEED + parts)
        assert worst_ulps(split_and_merged(errors, parts, rng), errors) <= LIMIT_ULPS


def test_ten_thousand_pieces():
    rng = random.Random(SEED)
    errors = [1e12 + rng.gauss(0, 1) for _ in range(20000)]
    assert worst_ulps(split_and_merged(errors, 10000, rng), errors) <= 2


def test_a_million_samples_by_integers():
    rng = random.Random(SEED)
    scaled = [rng.randrange(-(2**40), 2**40) for _ in range(10**6)]
    s = in_batches([k * 2.0**-30 for k in scaled])
    n, total, squares = len(scaled), sum(scaled), sum(k * k for k in scaled)
    assert ulps(s.bias, Fraction(total, n * 2**30)) <= 1
    assert ulps(s.mse, Fraction(squares, n * 2**60)) <= 4
    assert ulps(s.error_variance, Fraction(n * squares - total * total, n * n * 2**60)) <= 4


@given(
    st.lists(
        st.floats(-(2.0**60), 2.0**60, allow_subnormal=False).map(
            lambda x: x if abs(x) > 2.0**-60 else 0.0
        ),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_any_numbers_any_split(errors, parts, rng):
    s = split_and_merged(errors, parts, rng)
    want = exact_figures(errors)
    assert s.count == len(errors)
    assert ulps(s.mse, want["mse"]) <= LIMIT_ULPS
    # The sum may cancel: its error is bounded by what was added, not by what is left.
    magnitude = sum(abs(Fraction(e)) for e in errors) / len(errors)
    slack = 4 * U * abs(want["bias"]) + Fraction(2) ** -95 * magnitude
    assert abs(Fraction(s.bias) - want["bias"]) <= slack
    assert ulps(s.error_variance, want["error_variance"]) <= LIMIT_ULPS


@pytest.mark.parametrize("constant", [0.1, -1e15 / 3, 1e-150 / 3, 2.0**200, 0.0])
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_a_constant_has_variance_zero_whatever_the_split(constant, sizes):
    pieces = [(one_by_one if n % 2 else in_batches)([constant] * n) for n in sizes]
    s = merge_all(pieces)
    assert (s.error_variance, s.bias) == (0.0, constant)
    assert s.mse_interval() == (
        (s.mse, s.mse) if s.count >= 20 else pytest.approx((float("nan"),) * 2, nan_ok=True)
    )


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=50))
def test_a_weighted_constant_too(weights):
    s = ErrorStats()
    s.update_many([0.0] * len(weights), [0.1] * len(weights), weights)
    for w in weights:
        s.update(0.0, 0.1, weight=w)
    assert (s.error_variance, s.bias) == (0.0, 0.1)


@pytest.mark.parametrize("offset", [0.0, 1e8, 1e15])
def test_weights(offset):
    rng = random.Random(SEED)
    errors = [offset + rng.gauss(0, 1) for _ in range(3000)]
    weights = [rng.choice((1.0, rng.expovariate(1.0))) for _ in errors]
    one, many, parts = ErrorStats(), ErrorStats(), []
    for e, w in zip(errors, weights, strict=True):
        one.update(0.0, e, w)
    many.update_many([0.0] * len(errors), errors, weights)
    for i in range(0, len(errors), 7):
        part = ErrorStats()
        part.update_many([0.0] * len(errors[i : i + 7]), errors[i : i + 7], weights[i : i + 7])
        parts.append(ErrorStats.from_bytes(part.to_bytes()))
    w = [Fraction(x) for x in weights]
    total = sum(w)
    mean = sum(a * Fraction(e) for a, e in zip(w, errors, strict=True)) / total
    variance = sum(a * (e - mean) ** 2 for a, e in zip(w, map(Fraction, errors), strict=True))
    variance /= total
    for s in (one, many, merge_all(parts)):
        assert ulps(s.bias, mean) <= 2
        assert ulps(s.error_variance, variance) <= 4
        assert ulps(s.mse, mean * mean + variance) <= 4
        assert ulps(s.weight, total) <= 1
        kish = total * total / sum(a * a for a in w)
        assert s.effective_count == pytest.approx(float(kish), rel=1e-13)


@pytest.mark.parametrize("name", ["standard", "offset 1e+08", "random tiny and huge", "NumAcc4"])
@pytest.mark.parametrize("parts", [1, 300])
def test_third_and_fourth_moments_keep_their_bound(name, parts):
    errors = FAMILIES[name]
    s = split_and_merged(errors, parts, random.Random(SEED))
    x = [Fraction(e) for e in errors]
    mean = sum(x) / len(x)
    merges = parts + len(errors) / 16
    for k, got in ((3, s.moments().m3), (4, s.moments().m4)):
        want = sum((e - mean) ** k for e in x)
        scale = sum(abs(e - mean) ** k for e in x)
        assert abs(Fraction(got) - want) <= (256 + 32 * merges) * U * scale


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12])
@pytest.mark.parametrize("parts", [1, 300])
def test_label_moments_keep_their_bound(offset, parts):
    rng = random.Random(SEED)
    labels = [offset + rng.gauss(0, 3) for _ in range(3000)]
    errors = [rng.gauss(0.2, 1) + 0.3 * (y - offset) for y in labels]
    pairs = [(y, y + e) for y, e in zip(labels, errors, strict=True)]
    size = -(-len(pairs) // parts)
    states = []
    for i in range(0, len(pairs), size):
        states.append(ErrorStats())
        states[-1].update_many(*zip(*pairs[i : i + size], strict=True))
    m = merge_all(states).moments()
    y = [Fraction(a) for a, _ in pairs]
    e = [Fraction(p - a) for a, p in pairs]
    y_mean, mean = sum(y) / len(y), sum(e) / len(e)
    y_m2 = sum((a - y_mean) ** 2 for a in y)
    sd = math.sqrt(y_m2 / len(y))
    assert abs(Fraction(m.y_mean) - y_mean) <= 2 * U * abs(y_mean) + 35 * U * sd
    assert ulps(m.y_m2, y_m2) <= 4
    products = [(a - y_mean) * (b - mean) for a, b in zip(y, e, strict=True)]
    assert abs(Fraction(m.y_e) - sum(products)) <= 8 * U * sum(map(abs, products))


@pytest.mark.parametrize("label", [0.1, -1e15 / 3, 1e-150 / 3, 2.0**200, 0.0])
@given(st.lists(st.integers(1, 1500), min_size=1, max_size=5))
def test_constant_labels_have_no_spread_whatever_the_split(label, sizes):
    pieces = []
    for n in sizes:
        pieces.append(ErrorStats())
        pieces[-1].update_many([label] * n, [label + i * abs(label) / 7 for i in range(n)])
    m = merge_all(pieces).moments()
    assert (m.y_mean, m.y_mean_lo, m.y_m2, m.y_e) == (label, 0.0, 0.0, 0.0)


def test_errors_that_cancel_to_nothing_but_their_last_bits():
    """The largest is 2^100 times the mean: what two integers of 52 bits leave is wanted."""
    errors = [1e16, 1e-15, -1e16] * 300 + [3e-15]
    for how in (one_by_one, in_batches):
        assert ulps(how(errors).bias, exact_figures(errors)["bias"]) <= 2


def test_one_way_analysis_of_variance_at_offset_1e12():
    rng = random.Random(SEED)
    groups = [[1e12 + 0.3 * g + rng.gauss(0, 1) for _ in range(500)] for g in range(9)]
    states = [in_batches(g) for g in groups]
    total = merge_all(states)
    within = sum(s.error_variance * s.count for s in states)
    between = total.error_variance * total.count - within
    f = (between / 8) / (within / (total.count - 9))
    x = [[Fraction(e) for e in g] for g in groups]
    means = [sum(g) / len(g) for g in x]
    grand = sum(sum(g) for g in x) / sum(len(g) for g in x)
    want_within = sum(sum((e - m) ** 2 for e in g) for g, m in zip(x, means, strict=True))
    want_between = sum(len(g) * (m - grand) ** 2 for g, m in zip(x, means, strict=True))
    want = (want_between / 8) / (want_within / (total.count - 9))
    assert abs(f / float(want) - 1) <= 1e-12
