"""LossStats is a monoid with canonical bytes; its golden vectors stay readable for ever."""

from __future__ import annotations

import copy
import json
import math
import pathlib
import pickle
import random
import re
import threading
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stats.samples import SEED
from stats.test_losses import EACH, PARAMETERS, SAMPLE, drawn

from edgemse import ErrorStats, LossStats
from edgemse.errors import CorruptStateError, MergeError, StateError, UnsupportedVersionError
from edgemse.stats.measures import follow_loss

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden_losses_v1.json").read_text())
LIBM = ("log_loss", "rmsle")
"""Losses whose last bit is the C library's."""
OTHERS = st.sampled_from([(math.nan, 1.0), (1e300, 1.0), (0.5, 2.0), (-7.0, -7.0)])
WEIGHT = st.sampled_from([1.0, 1.0, 0.25, 3.0, 0.0])


def new(name: str) -> LossStats:
    return LossStats(name, **PARAMETERS[name])


def folded(name: str, samples) -> LossStats:
    s = new(name)
    for (y_true, y_pred), weight in samples:
        s.update(y_true, y_pred, weight)
    return s


def samples_of(name: str, **sizes):
    return st.lists(st.tuples(st.one_of(SAMPLE[name], OTHERS), WEIGHT), max_size=40, **sizes)


def counts(s: LossStats) -> tuple[int, int, int]:
    return s.count, s.nonfinite, s.out_of_domain


def close(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=16 * 2.0**-53)


@EACH
@given(data=st.data())
def test_any_split_is_the_fold_and_merging_commutes(name, data):
    parts = data.draw(st.lists(samples_of(name), min_size=2, max_size=5))
    whole = folded(name, [sample for part in parts for sample in part])
    merged, turned = new(name), new(name)
    for part in parts:
        merged.merge(LossStats.from_bytes(folded(name, part).to_bytes()))
    for part in parts:
        state = folded(name, part)
        state.merge(turned)
        turned = state
    assert merged == turned
    assert counts(merged) == counts(whole)
    assert (merged.losses.histogram, merged.weight) == (whole.losses.histogram, whole.weight)
    for figure in ("mean", "variance", "min", "max"):
        assert close(getattr(merged, figure), getattr(whole, figure)), figure


@EACH
@given(data=st.data())
def test_a_batch_is_the_fold(name, data):
    samples = data.draw(samples_of(name, min_size=1))
    pairs, weights = zip(*samples, strict=True)
    many = new(name)
    many.update_many(*zip(*pairs, strict=True), weights)
    one = folded(name, samples)
    assert (counts(many), many.losses.histogram) == (counts(one), one.losses.histogram)
    assert close(many.mean, one.mean)
    assert close(many.variance, one.variance)


@EACH
@given(data=st.data())
def test_bytes_copies_and_pickles_are_the_same_state(name, data):
    s = folded(name, data.draw(samples_of(name)))
    raw = s.to_bytes()
    for twin in (
        LossStats.from_bytes(memoryview(raw)),
        s.copy(),
        copy.deepcopy(s),
        pickle.loads(pickle.dumps(s)),
    ):
        assert twin == s
        assert twin.to_bytes() == raw
        assert (twin.loss, twin.parameters) == (name, PARAMETERS[name])
        twin.update(0.0, 0.5)
        assert s.to_bytes() == raw


@EACH
@given(
    data=st.data(),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3),
    cut=st.integers(0, 40),
)
@settings(max_examples=200)
def test_altered_bytes_are_refused_or_are_another_state(name, data, changes, cut):
    raw = bytearray(folded(name, data.draw(samples_of(name))).to_bytes())
    for at, change in changes:
        raw[at % len(raw)] ^= change
    raw = bytes(raw[: len(raw) - cut % len(raw)])
    try:
        s = LossStats.from_bytes(raw)
    except StateError:
        return
    assert s.to_bytes() == raw


@given(st.binary(max_size=120))
@settings(max_examples=200)
def test_arbitrary_bytes_raise_only_the_typed_error(junk):
    for first in (b"", b"\x81", b"\x81\x05brier", b"\x81\x05huber"):
        try:
            s = LossStats.from_bytes(first + junk)
        except StateError:
            continue
        assert s.to_bytes() == first + junk


def test_bytes_that_cannot_be_a_states():
    other = ErrorStats()
    other.update(1.0, 2.0)
    brier = b"\x81\x05brier"
    for raw in (b"", b"\x81", other.to_bytes(), brier, b"\x81\x05huber\0", b"\x81\x03mse\1\0\0"):
        with pytest.raises(CorruptStateError):
            LossStats.from_bytes(raw)
    with pytest.raises(CorruptStateError, match="a label or a negative loss"):
        LossStats.from_bytes(brier + other.to_bytes())
    below = ErrorStats()
    below.update(0.0, -1.0)
    with pytest.raises(CorruptStateError, match="a label or a negative loss"):
        LossStats.from_bytes(brier + below.to_bytes())
    with pytest.raises(UnsupportedVersionError):
        LossStats.from_bytes(b"\x82" + brier[1:])
    with pytest.raises(StateError):
        ErrorStats.from_bytes(new("brier").to_bytes())
    with pytest.raises(TypeError):
        LossStats.from_bytes("brier")


def test_only_the_same_loss_merges():
    s = new("huber")
    for other in (LossStats("huber", delta=2.0), new("brier")):
        with pytest.raises(MergeError, match=r"loss:huber\(delta=1.25\) cannot take in"):
            s.merge(other)
        assert s != other
    with pytest.raises(TypeError):
        s.merge(ErrorStats())
    assert s != ErrorStats()
    s.update(0.0, 1.0)
    twin = s.copy()
    s.merge(new("huber"))
    assert s == twin
    s.merge(s)
    assert (s.count, s.mean) == (2, 0.5)


@EACH
def test_empty_is_nan_and_little_is_no_interval(name):
    s = new(name)
    for figure in ("mean", "value", "variance", "min", "max", "standard_error"):
        assert math.isnan(getattr(s, figure)), figure
    assert math.isnan(s.quantile(0.5))
    assert (s.count, s.weight) == (0, 0.0)
    for _ in range(19):
        s.update(1.0, 0.5)
    assert math.isnan(s.interval()[0])
    assert s.standard_error == 0.0
    s.update(1.0, 0.5)
    assert s.interval() == (s.mean, s.mean)
    with pytest.raises(ValueError, match="between 0 and 1"):
        s.interval(1.0)


def test_standard_error_interval_and_root():
    y, p = drawn("rmsle", 400)
    s = LossStats("rmsle")
    s.update_many(y, p)
    low, high = s.interval()
    assert low < s.mean < high
    assert high / s.mean == pytest.approx(s.mean / low)
    assert s.value == math.sqrt(s.mean)
    exact_losses = [Fraction(math.log1p(b) - math.log1p(a)) ** 2 for a, b in zip(y, p, strict=True)]
    mean = sum(exact_losses) / len(y)
    spread = sum((x - mean) ** 2 for x in exact_losses) / len(y)
    assert s.standard_error == pytest.approx(math.sqrt(spread / (len(y) - 1)), rel=1e-12)
    assert repr(s) == f"LossStats('rmsle', n=400, rmsle={s.value:.6g})"


@pytest.mark.parametrize(
    ("bad", "error"),
    [(["1", "2"], TypeError), ([[1.0], [2.0]], TypeError), ([1.0], ValueError), (None, TypeError)],
)
def test_unfit_input_changes_nothing(bad, error):
    s = new("huber")
    for args in ((bad, [1.0, 2.0]), ([1.0, 2.0], bad)):
        with pytest.raises(error):
            s.update_many(*args)
    with pytest.raises(ValueError, match="not negative"):
        s.update_many([1.0, 2.0], [1.0, 2.0], [1.0, -1.0])
    with pytest.raises(ValueError, match="not negative"):
        s.update(1.0, 2.0, -1.0)
    for wrong in ("1", None):
        with pytest.raises(TypeError):
            s.update(1.0, wrong)
    s.update(1, 2)
    assert s.count == 1


def test_threads_on_one_object_lose_nothing():
    s, other = new("huber"), new("huber")
    other.update_many(range(50), range(1, 51))

    def work() -> None:
        for _ in range(50):
            s.merge(other)
            s.update(0.0, 2.0)
            s.update_many([1.0, 2.0], [2.0, 4.0])
            assert LossStats.from_bytes(s.to_bytes()).count <= s.count

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert s.count == 4 * 50 * 53


@pytest.mark.parametrize("title", sorted(GOLDEN))
def test_golden_vectors(title):
    want = GOLDEN[title]
    s = LossStats.from_bytes(bytes.fromhex(want["bytes"]))
    assert s.to_bytes().hex() == want["bytes"]
    assert (s.loss, s.parameters) == (want["loss"], want["parameters"])
    assert counts(s) == tuple(want["counts"])
    assert [getattr(s, figure).hex() for figure in ("mean", "variance", "min", "max")] == [
        float.fromhex(x).hex() for x in want["figures"]
    ]
    again = LossStats(want["loss"], **want["parameters"])
    for y_true, y_pred, weight in want["samples"]:
        again.update(float.fromhex(y_true), float.fromhex(y_pred), float.fromhex(weight))
    assert counts(again) == counts(s)
    assert close(again.mean, s.mean)
    assert close(again.variance, s.variance)
    assert again.losses.histogram == s.losses.histogram or s.loss in LIBM


def test_the_vector_of_the_documentation():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    (block,) = re.findall(r"<!-- vector: loss huber -->\n```\n(.*?)```", text, re.DOTALL)
    s = LossStats("huber", delta=1.0)
    s.update_many([10.0, 10.0], [10.5, 7.0])
    assert s.to_bytes() == bytes.fromhex(block)


def write_golden() -> None:
    """Write the golden vectors; only ever for a new version of the bytes."""
    rng = random.Random(SEED)
    vectors = {}
    for name in sorted(PARAMETERS):
        y, p = drawn(name, 30)
        rows = [(a, b, 1.0) for a, b in zip(y, p, strict=True)]
        weighted = [(a, b, rng.choice([0.5, 1.0, 3.0])) for a, b, _ in rows]
        odd = [(math.nan, 0.5, 1.0), (1e300, 0.5, 1.0), (0.5, -2.0, 1.0), (0.0, 1.0, 1.0)]
        for kind, samples in (("", rows), (" weighted", weighted), (" odd", odd), (" empty", [])):
            s = folded(name, [((a, b), w) for a, b, w in samples])
            vectors[name + kind] = {
                "loss": name,
                "parameters": s.parameters,
                "samples": [[x.hex() for x in sample] for sample in samples],
                "counts": counts(s),
                "figures": [getattr(s, f).hex() for f in ("mean", "variance", "min", "max")],
                "bytes": s.to_bytes().hex(),
            }
    path = pathlib.Path(__file__).parent / "golden_losses_v1.json"
    path.write_text(json.dumps(vectors, indent=1) + "\n")


def test_a_cell_that_is_fed_with_losses_says_what_loss_stats_says() -> None:
    losses, cell = LossStats("log_loss"), ErrorStats()
    followed = follow_loss(losses.measure)
    assert followed.measure == losses.measure
    for y_true, y_pred in [(1.0, 0.8), (0.0, 0.1), (0.5, 0.5), (1.0, math.nan)]:
        losses.update(y_true, y_pred)
        cell.update(0.0, followed.value(y_true, y_pred))
    assert cell == losses.losses
    assert (cell.bias, cell.out_of_range, cell.nonfinite) == (losses.mean, 1, 1)
