"""What everything that merges must do, whatever it counts: one suite for all of them."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stats.test_histogram import ONE_ERROR
from stats.test_monoid import NUMBERS, WEIGHTS

from edgemse import Coverage, ErrorStats, LossStats, ResidualHistogram
from edgemse.errors import MergeError, StateError

COUNTERS = ("predictions", "expired", "orphan", "duplicate", "conflicting")
LAGS = st.integers(0, 10**7).map(lambda lag_ms: ("matched", lag_ms))
EVENTS = st.tuples(st.sampled_from(COUNTERS), st.just(0)) | LAGS
PROBABILITIES = st.tuples(st.sampled_from([0.0, 1.0, 0.5]), st.floats(-0.1, 1.1), WEIGHTS)


@dataclass(frozen=True)
class Merging:
    """One kind of thing that merges.

    `exact` is what merging in any order leaves the same to the bit, `rounded` what only stays
    within twice the bounds of docs/numerics.md.
    """

    empty: Callable[[], Any]
    samples: st.SearchStrategy[Any]
    add: Callable[[Any, Any], None]
    exact: Callable[[Any], Any] = lambda state: state.to_bytes()
    rounded: Callable[[Any], dict[str, float]] = lambda _: {}
    others: Callable[[], list[Any]] = list


def add_sample(state: Any, sample: Any) -> None:
    state.update(*sample)


def add_error(state: ResidualHistogram, error: float) -> None:
    state.update(error)


def add_event(state: Coverage, event: tuple[str, int]) -> None:
    name, lag_ms = event
    if name == "matched":
        state.match(lag_ms)
    else:
        setattr(state, name, getattr(state, name) + 1)


def counted(s: ErrorStats) -> tuple[Any, ...]:
    """Of a state what is exact in any order; hex, so that NaN equals NaN."""
    return (
        *(s.count, s.nonfinite, s.out_of_range, s.has_histogram),
        *(s.min_error.hex(), s.max_error.hex(), s.histogram and s.histogram.to_bytes()),
    )


def figures(s: ErrorStats) -> dict[str, float]:
    return {"weight": s.weight, "mse": s.mse, "mae": s.mae}


def merging_losses(loss: str, samples: Any, **parameters: float) -> Merging:
    return Merging(
        lambda: LossStats(loss, **parameters),
        samples,
        add_sample,
        lambda s: counted(s.losses),
        lambda s: {"mean": s.mean},
        lambda: [LossStats("mape", floor=0.25), ErrorStats(), LossStats("huber", delta=7.0)],
    )


TRIPLES = st.tuples(NUMBERS, NUMBERS, WEIGHTS)
KINDS = {
    "ErrorStats": Merging(
        ErrorStats,
        TRIPLES,
        add_sample,
        counted,
        figures,
        lambda: [ResidualHistogram(), Coverage(), LossStats("brier"), None, 0, b""],
    ),
    "ResidualHistogram": Merging(
        ResidualHistogram,
        ONE_ERROR,
        add_error,
        others=lambda: [ErrorStats(), Coverage(), None, {}],
    ),
    "Coverage": Merging(
        Coverage, EVENTS, add_event, others=lambda: [ErrorStats(), ResidualHistogram(), None, 0]
    ),
    "huber": merging_losses("huber", TRIPLES, delta=1.25),
    "brier": merging_losses("brier", PROBABILITIES),
}
EACH = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def drawn(data: Any, kind: Merging, parts: int) -> list[list[Any]]:
    return [data.draw(st.lists(kind.samples, max_size=30)) for _ in range(parts)]


def folded(kind: Merging, samples: list[Any]) -> Any:
    """From the samples; every third state of ErrorStats that has some forgets its histogram."""
    state = kind.empty()
    for sample in samples:
        kind.add(state, sample)
    if isinstance(state, ErrorStats) and len(samples) % 3 == 2:
        return ErrorStats.from_bytes(state.to_bytes(histogram=False))
    return state


def merged(*states: Any) -> Any:
    total = states[0].copy()
    for state in states[1:]:
        assert total.merge(state) is None
    return total


def check_close(kind: Merging, a: Any, b: Any) -> None:
    assert kind.exact(a) == kind.exact(b)
    theirs = kind.rounded(b)
    for name, mine in kind.rounded(a).items():
        same = math.isnan(mine) and math.isnan(theirs[name])
        # squares that underflow have fewer digits
        assert same or math.isclose(mine, theirs[name], rel_tol=3e-14, abs_tol=2.0**-900), name


@EACH
@given(data=st.data())
def test_the_empty_one_is_the_identity_to_the_bit(kind, data):
    (samples,) = drawn(data, kind, 1)
    state = folded(kind, samples)
    for same in (merged(state, kind.empty()), merged(kind.empty(), state)):
        assert same == state
        assert same.to_bytes() == state.to_bytes()


@EACH
@given(data=st.data())
def test_merging_commutes_to_the_bit(kind, data):
    a, b = (folded(kind, samples) for samples in drawn(data, kind, 2))
    assert merged(a, b) == merged(b, a)
    assert merged(a, b).to_bytes() == merged(b, a).to_bytes()


@EACH
@given(data=st.data())
def test_merging_is_associative(kind, data):
    a, b, c = (folded(kind, samples) for samples in drawn(data, kind, 3))
    check_close(kind, merged(merged(a, b), c), merged(a, merged(b, c)))


@EACH
@given(data=st.data())
def test_merging_is_folding_all_at_once(kind, data):
    parts = drawn(data, kind, 3)
    whole = kind.empty()
    for sample in (sample for part in parts for sample in part):
        kind.add(whole, sample)
    states = [folded(kind, part) for part in parts]
    total = merged(kind.empty(), *states)
    if isinstance(whole, ErrorStats) and not total.has_histogram:
        whole = ErrorStats.from_bytes(whole.to_bytes(histogram=False))
    check_close(kind, total, whole)


@EACH
@given(data=st.data())
def test_bytes_are_canonical_and_tell_everything(kind, data):
    (samples,) = drawn(data, kind, 1)
    state = folded(kind, samples)
    raw = state.to_bytes()
    assert state.to_bytes() == raw
    for twin in (
        type(state).from_bytes(raw),
        type(state).from_bytes(memoryview(raw)),
        pickle.loads(pickle.dumps(state)),
        copy.deepcopy(state),
    ):
        assert twin == state
        assert twin.to_bytes() == raw
    for cut in {0, len(raw) // 2, len(raw) - 1} - {len(raw), -1}:
        if cut or kind.empty().to_bytes():  # a coverage without bytes is an empty one
            with pytest.raises(StateError):
                type(state).from_bytes(raw[:cut])
    with pytest.raises(StateError):
        type(state).from_bytes(raw + b"\0")


@EACH
@given(data=st.data())
def test_a_copy_goes_on_alike_and_apart(kind, data):
    first, second, third = drawn(data, kind, 3)
    state = folded(kind, first)
    twin, raw = state.copy(), state.to_bytes()
    for sample in second:
        kind.add(twin, sample)
    twin.merge(folded(kind, third))
    assert state.to_bytes() == raw
    for sample in second:
        kind.add(state, sample)
    state.merge(folded(kind, third))
    assert state.to_bytes() == twin.to_bytes()


@EACH
@given(data=st.data())
def test_what_is_merged_in_stays_as_it_is(kind, data):
    a, b = (folded(kind, samples) for samples in drawn(data, kind, 2))
    raw = b.to_bytes()
    a.merge(b)
    assert b.to_bytes() == raw
    twice = merged(a, a)
    a.merge(a)
    assert a == twice


@EACH
@given(data=st.data())
def test_what_does_not_belong_is_refused_and_changes_nothing(kind, data):
    (samples,) = drawn(data, kind, 1)
    state = folded(kind, samples)
    raw = state.to_bytes()
    for other in kind.others():
        with pytest.raises((TypeError, MergeError)):
            state.merge(other)
        assert state != other
    assert state.to_bytes() == raw
    with pytest.raises(TypeError, match="unhashable"):
        hash(state)


@given(st.lists(st.lists(TRIPLES, max_size=10), max_size=4))
def test_plus_and_sum_are_merge(parts):
    states = [folded(KINDS["ErrorStats"], part) for part in parts]
    before = [s.to_bytes() for s in states]
    total = sum(states)
    if not states:
        assert total == 0
        return
    assert total == merged(*states)
    assert total.to_bytes() == sum(states, ErrorStats()).to_bytes()
    assert states[0] + states[-1] == merged(states[0], states[-1])
    total.update(0.0, 1.0)
    assert [s.to_bytes() for s in states] == before
    for wrong in (0.0, 1, None, states[0].histogram):
        with pytest.raises(TypeError):
            states[0] + wrong
        with pytest.raises(TypeError):
            wrong + states[0]
