"""Whatever is accepted merges to what is accepted: at the edge, in any tree, by core and table."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stats.edges import accepted, edge_of, honest, merged_by_table, pushed
from stats.samples import SEED, families, split_and_merged

from edgemse import ErrorStats
from edgemse.errors import CorruptStateError
from edgemse.stats.moments import Moments

NUMBERS = 19  # without the refused samples, which merge as whole numbers do
SEEDS = st.integers(0, 2**32)
TRIANGLE = [(0.0, -1.0, 1.0), (0.0, 1.0, 1.0)]


def figures(s: ErrorStats) -> list[float]:
    names = [name for name in dir(ErrorStats) if not name.startswith("_")]
    values = [getattr(s, name) for name in names]
    return [*(v for v in values if isinstance(v, float)), *s.mse_interval(), *s.rmse_interval()]


def pool(rng: random.Random) -> list[Moments]:
    moments = [edge_of(honest(rng).moments(), rng) for _ in range(rng.choice((2, 3, 6)))]
    return moments + rng.choices(moments, k=rng.choice((0, 5, 100)))


def in_a_tree(rng: random.Random, states: list[ErrorStats]) -> ErrorStats:
    """Merge two at a time; each step is read again, as a cell that goes through a store."""
    while len(states) > 1:
        a, b = (states.pop(rng.randrange(len(states))) for _ in range(2))
        a.merge(b)
        again = accepted(a.moments())
        assert again is not None
        assert again.moments()[:NUMBERS] == a.moments()[:NUMBERS]
        states.append(again)
    return states[0]


@given(SEEDS)
@settings(max_examples=150, deadline=None)
def test_what_is_accepted_merges_in_the_core_to_what_is_accepted(seed):
    rng = random.Random(seed)
    states = [accepted(m) for m in pool(rng)]
    assert None not in states
    assert not any(map(math.isinf, figures(in_a_tree(rng, states))))


@given(SEEDS)
@settings(max_examples=150, deadline=None)
def test_what_is_accepted_merges_in_a_table_to_what_is_accepted(seed):
    rng = random.Random(seed)
    rows = pool(rng)
    at_once = ErrorStats.from_moments(merged_by_table(rows), None)
    assert at_once.count == sum(row.count for row in rows)
    while len(rows) > 1:  # rollups of rollups, some of one row only
        some = [
            rows.pop(rng.randrange(len(rows))) for _ in range(min(len(rows), rng.choice((1, 2, 3))))
        ]
        rows.append(merged_by_table(some))
    by_levels = ErrorStats.from_moments(rows[0], None)
    assert not any(map(math.isinf, figures(at_once) + figures(by_levels)))


@given(SEEDS)
@settings(max_examples=150, deadline=None)
def test_what_samples_make_is_accepted(seed):
    rng = random.Random(seed)
    states = [honest(rng) for _ in range(rng.choice((1, 2, 20)))]
    rows = [s.moments() for s in states]
    assert all(map(accepted, rows))
    ErrorStats.from_moments(merged_by_table(rows), None)
    in_a_tree(rng, states)


@pytest.mark.parametrize("name", families(4))
def test_families_in_random_trees_are_accepted(name):
    errors = families(4000)[name]
    rng = random.Random(SEED)
    for parts in (1, 2, 7, 200):
        s = split_and_merged(errors, parts, rng)
        assert ErrorStats.from_bytes(s.to_bytes()) == s


def of(samples: list[tuple[float, float, float]]) -> Moments:
    s = ErrorStats()
    for sample in samples:
        s.update(*sample)
    return s.moments()


def test_numbers_that_no_samples_have_are_refused():
    two = of(TRIANGLE)
    refused = {
        "spread around an end": two._replace(mean=-1.0),
        "two values and a third moment": two._replace(m3=1.0),
        "kurtosis below 1": two._replace(m4=1.0),
        "kurtosis above what the range allows": two._replace(m4=2.5),
        "mean size below the mean": two._replace(mean=0.5, m2=1.5, m3=-1.5, m4=2.625, abs_sum=0.9),
        "mean size above the largest": two._replace(abs_sum=2.1),
        "mean size above the rmse": two._replace(m2=0.5, m4=0.5, abs_sum=1.5),
        "labels beyond 2^200": two._replace(y_m2=2.0**403),
        "co-moment of constant labels": two._replace(y_e=1e-9),
        "co-moment beyond Cauchy-Schwarz": two._replace(y_m2=2.0, y_e=2.001),
    }
    assert accepted(two)
    taken = [why for why, moments in refused.items() if accepted(moments)]
    assert taken == []
    for moments in refused.values():
        with pytest.raises(CorruptStateError):
            ErrorStats.from_moments(moments, None)


@pytest.mark.parametrize(
    ("field", "far", "edge"),
    [
        ("m2", 1e3, 2.0),
        ("m2", 0.0, 2.0),
        ("m3", 9.0, 0.0),
        ("m4", 9.0, 2.0),
        ("m4", -9.0, 2.0),
        ("abs_sum", 0.0, 0.0),
        ("abs_sum", 9.0, 2.0),
        ("y_e", 9.0, 0.0),
    ],
)
def test_the_slack_is_small(field, far, edge):
    """Of two values, whose numbers are at the edge by themselves."""
    assert getattr(pushed(of(TRIANGLE), field, far), field) == pytest.approx(edge, abs=1e-4)


def test_ratios_to_a_spread_too_small_to_divide_by_are_no_figures():
    s = ErrorStats()
    for y, e in ((0.0, 1e5), (1e-160, -1e5)):
        s.update(y, e)
    assert s.moments().y_m2 > 0.0
    assert math.isnan(s.r2)
    assert math.isfinite(s.correlation)
