"""The bound that merge.sql states, against exact rational arithmetic over the same cells."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet import Planted

from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import merged
from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.moments import Moments

U = Fraction(1, 2**53)
LOST = Fraction(2) ** -1000
"""Products that are smaller lose their last bits, and then all of them."""


def exact(high: float, low: float = 0.0) -> Fraction:
    return Fraction(high) + Fraction(low)


def moments_of(states: list[ErrorStats]) -> Moments:
    """Return what the store's SQL merges of one cell for each state."""
    planted = Planted()
    for each in states:
        planted.put("pi-1", each)
    planted.commit()
    with planted.store.reading() as reading:
        (group,) = merged(reading, Asked(), histograms=False)
    planted.store.close()
    return group.stats.moments()


def check(states: list[ErrorStats]) -> None:
    """Hold mean and m2 to the bounds, as soon as a cell has a sample."""
    parts = [each.moments() for each in states if each.count]
    got = moments_of(states)
    weights = [exact(each.weight, each.weight_lo) for each in parts]
    means = [exact(each.mean, each.mean_lo) for each in parts]
    total = sum(weights)
    mean = sum(w * m for w, m in zip(weights, means, strict=True)) / total
    m2 = sum(exact(each.m2, each.m2_lo) for each in parts)
    m2 += sum(w * (m - mean) ** 2 for w, m in zip(weights, means, strict=True))
    steps = (len(parts) + 16) * U  # a sum of N terms, each with some roundings of its own
    reach = max(map(abs, means))
    spread = max(means) - min(means)
    # What is kept of the mean is a pair of doubles.
    off = abs(exact(got.mean, got.mean_lo) - mean)
    assert off <= steps * spread + 4 * U * U * reach + LOST
    if m2 == 0:
        assert got.m2 <= float((steps * reach) ** 2 * total + LOST)
        return
    shift = min(steps**2 * reach**2 * total / m2, 4 * total / min(weights))
    assert abs(exact(got.m2, got.m2_lo) - m2) <= 4 * steps * (1 + shift) * m2 + LOST


def state(errors: list[float], weight: float = 1.0) -> ErrorStats:
    stats = ErrorStats()
    for error in errors:
        stats.update(0.0, error, weight)
    return stats


magnitudes = st.integers(-20, 40).map(lambda power: 2.0**power)
offsets = st.tuples(magnitudes, st.sampled_from([-1.0, 0.0, 1.0])).map(
    lambda pair: pair[0] * pair[1]
)
small = st.floats(-1, 1, allow_subnormal=False)
cells = st.tuples(offsets, magnitudes, st.lists(small, min_size=1, max_size=6), magnitudes)


@settings(max_examples=30, deadline=None)
@given(st.lists(cells, min_size=1, max_size=30))
def test_the_bound_holds_for_cells_of_any_size(
    drawn: list[tuple[float, float, list[float], float]],
) -> None:
    check([state([at + scale * e for e in errors], weight) for at, scale, errors, weight in drawn])


@settings(max_examples=20, deadline=None)
@given(offsets, magnitudes, st.lists(st.lists(small, min_size=1, max_size=4), max_size=40))
def test_the_bound_holds_where_a_mean_hides_the_spread(
    at: float, scale: float, drawn: list[list[float]]
) -> None:
    check([state([at]), *(state([at + scale * 1e-9 * e for e in errors]) for errors in drawn)])


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6, 1e12, -1e15])
@pytest.mark.parametrize("weight", [1.0, 1e-6])
def test_the_bound_holds_for_many_cells(offset: float, weight: float) -> None:
    rng = random.Random(7)
    states = [state([offset + rng.gauss(0, 1) for _ in range(3)]) for _ in range(2_000)]
    check([*states, state([offset + 1e3], weight)])
