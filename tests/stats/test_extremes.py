"""The ends of the range: what is folded there is read again, and light far values do no harm."""

from array import array
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stats.samples import ulps

from edgemse import ErrorStats, merge_all

SMALLEST = 2.0**-1074
NUMBERS = st.one_of(
    st.floats(-(2.0**200), 2.0**200),
    st.floats(-1e-300, 1e-300),
    st.sampled_from([SMALLEST, -SMALLEST, 0.0, 2.0**200, -(2.0**200), 2.0**-1022, 1.0]),
)
WEIGHTS = st.one_of(
    st.just(1.0), st.integers(-100, 100).map(lambda k: 2.0**k), st.floats(2.0**-100, 2.0**100)
)
PIECES = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(st.tuples(NUMBERS, NUMBERS, WEIGHTS), min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=4,
)


def folded(piece) -> ErrorStats:
    weighted, samples = piece
    y, pred, weights = (array("d", column) for column in zip(*samples, strict=True))
    one, many = ErrorStats(), ErrorStats()
    many.update_many(y, pred, weights if weighted else None)
    for sample in samples:
        one.update(*(sample if weighted else sample[:2]))
    return merge_all([one, many])


@given(PIECES)
@settings(max_examples=300)
@example([(False, [(0.0, -1.7709243237201963e-305, 1.0)] * 9)])
@example([(False, [(0.0, -1e-323, 1.0), (0.0, -5e-324, 1.0)])])
@example([(True, [(0.0, 2.7e-162, 1.0), (0.0, 8.8e-168, 2.0**-100)])])
def test_every_state_of_ours_is_read_again(pieces):
    s = merge_all(map(folded, pieces))
    raw = s.to_bytes()
    assert ErrorStats.from_bytes(raw).to_bytes() == raw
    assert ErrorStats.from_moments(s.moments(), s.histogram).to_bytes() == raw


@pytest.mark.parametrize("far", [1e10, 1e30, -(2.0**199)])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_light_value_far_away_costs_the_mean_no_digits(far, at):
    samples = [(1.0, 3.0, 2.0**100), (1.0, 1.3, 2.0**99)]
    samples.insert(at, (0.0, far, 2.0**-100))
    total = sum(Fraction(w) for _, _, w in samples)
    mean = sum(Fraction(w) * Fraction(pred - y) for y, pred, w in samples) / total
    assert ulps(folded((True, samples)).bias, mean) <= 1
