"""Counts take 32 bits until all of them together need more: nobody but the memory may notice."""

import sys
from array import array

import pytest
from stats.test_histogram import counted

from edgemse import ErrorStats, ResidualHistogram

EDGE = 2**32
BATCH = 20_000  # long enough to be counted apart and merged


def times(state, n):
    """The merge of n copies, by doubling."""
    total = type(state)()
    while n:
        if n & 1:
            total.merge(state)
        state = state.copy()
        state.merge(state.copy())
        n >>= 1
    return total


def fed(h, errors):
    for e in errors:
        h.update(e)
    return h


@pytest.mark.parametrize("n", [EDGE - 3, EDGE - 2, EDGE - 1, EDGE, EDGE + 1, 3 * EDGE])
def test_counting_and_merging_across_the_edge(n):
    big = times(counted([1.5]), n)
    few = counted([1.5, 1.5, -3.0, 0.0])
    one_by_one = fed(big.copy(), [1.5, 1.5, -3.0, 0.0])
    ways = [one_by_one, big.copy(), few.copy(), ResidualHistogram.from_bytes(big.to_bytes())]
    ways[1].merge(few)
    ways[2].merge(big)
    ways[3].merge(ResidualHistogram.from_bytes(few.to_bytes()))
    for h in ways:
        assert (h.positive(), h.negative(), h.zero_count) == ((4, [n + 2]), (12, [1]), 1)
        assert h.count == n + 4
        assert h == one_by_one
        assert h.to_bytes() == one_by_one.to_bytes()
        assert ResidualHistogram.from_bytes(h.to_bytes()) == h
        assert h.copy() == h


@pytest.mark.parametrize("n", [EDGE - BATCH - 1, EDGE - BATCH, EDGE - 2, EDGE])
def test_states_across_the_edge(n):
    s = ErrorStats()
    s.update(0.0, 1.5)
    big = times(s, n)
    errors = [1.5] * (BATCH - 2) + [1e-30, -4.0]
    one_by_one, batch, merged = big.copy(), big.copy(), ErrorStats()
    for e in errors:
        one_by_one.update(0.0, e)
    batch.update_many(array("d", bytes(8 * BATCH)), array("d", errors))
    merged.update_many(array("d", bytes(8 * BATCH)), array("d", errors))
    merged.merge(big)
    for each in (one_by_one, batch, merged):
        assert each.count == n + BATCH
        assert each.histogram.count == n + BATCH
        assert each.histogram.positive()[1][-1] == n + BATCH - 2
        assert each.histogram.to_bytes() == one_by_one.histogram.to_bytes()
        assert ErrorStats.from_bytes(each.to_bytes()) == each


def test_what_falls_into_the_zero_bucket_when_counts_are_wide():
    h = times(counted([2.0**-40, -1.0]), EDGE)
    h.update(2.0**100)
    assert (h.zero_count, h.positive()[1], h.negative()[1]) == (2 * EDGE, [1], [])


def test_memory_doubles_where_counts_do():
    narrow = times(counted([1.0, 40.0]), EDGE // 2 - 1)
    wide = fed(narrow.copy(), [1.0, 1.0])
    empty = sys.getsizeof(ResidualHistogram())
    assert sys.getsizeof(wide) - empty == 2 * (sys.getsizeof(narrow) - empty)
