"""The River metrics beside River's own, inside River's own machinery."""

from __future__ import annotations

import copy
import doctest
import math
import pickle
import random

import pytest
from river import compose, evaluate, linear_model, metrics, model_selection, preprocessing, utils

from edgemse import ErrorStats, LossStats
from edgemse.adapters import river as adapter
from edgemse.errors import EdgemseError, UnsupportedError

PAIRS = [(adapter.MSE, metrics.MSE), (adapter.RMSE, metrics.RMSE)]
EACH = pytest.mark.parametrize(("ours", "peer"), PAIRS, ids=["MSE", "RMSE"])


def stream(n=400):
    rng = random.Random(20261120)
    for _ in range(n):
        x = {"a": rng.gauss(0, 1), "b": rng.gauss(3, 2)}
        yield x, 2 * x["a"] - x["b"] + rng.gauss(0, 0.5)


def model():
    return compose.Pipeline(preprocessing.StandardScaler(), linear_model.LinearRegression())


@EACH
def test_progressive_validation_gives_the_peers_figure(ours, peer):
    mine = evaluate.progressive_val_score(stream(), model(), ours())
    theirs = evaluate.progressive_val_score(stream(), model(), peer())
    assert mine.get() == pytest.approx(theirs.get(), rel=1e-12)
    assert mine.stats.count == 400
    assert repr(mine) == repr(theirs)


@EACH
def test_progressive_validation_with_delay_and_checkpoints(ours, peer):
    steps = [
        [
            step[type(metric).__name__].get()
            for step in evaluate.iter_progressive_val_score(
                stream(), model(), metric, delay=7, step=100
            )
        ]
        for metric in (ours(), peer())
    ]
    assert len(steps[0]) == 4
    assert steps[0] == pytest.approx(steps[1], rel=1e-12)


@EACH
def test_weights_and_comparison_are_the_peers(ours, peer):
    mine, theirs, worse = ours(), peer(), ours()
    for i, (y, p) in enumerate([(3, 2.5), (-0.5, 0.0), (2, 2), (7, 8)]):
        mine.update(y, p, w=1 + i % 2)
        theirs.update(y, p, w=1 + i % 2)
        worse.update(y, p + 5)
    assert mine.get() == pytest.approx(theirs.get(), rel=1e-15)
    assert mine.bigger_is_better is theirs.bigger_is_better is False
    assert mine.is_better_than(worse)
    for candidate in (model(), linear_model.LogisticRegression()):
        assert mine.works_with(candidate) == theirs.works_with(candidate)


@EACH
def test_together_with_other_metrics(ours, peer):
    both = ours() + metrics.MAE() + peer()
    evaluate.progressive_val_score(stream(50), model(), both)
    assert both[0].get() == pytest.approx(both[2].get(), rel=1e-12)


def test_model_selection_ranks_by_it():
    slow = linear_model.LinearRegression(intercept_lr=0.0)
    choice = model_selection.GreedyRegressor([slow, linear_model.LinearRegression()], adapter.MSE())
    score = evaluate.progressive_val_score(stream(), choice, adapter.MSE())
    assert score.stats.count == 400


def test_clones_are_empty_and_copies_go_on():
    metric = adapter.MSE()
    metric.update(1.0, 3.0)
    assert metric.clone().stats == ErrorStats()
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        twin.update(0.0, 0.0)
        assert (twin.get(), metric.get()) == (2.0, 4.0)
    other = adapter.MSE()
    other.merge(metric)
    assert other.stats == metric.stats


def test_nothing_is_taken_back():
    rolling = utils.Rolling(adapter.MSE, window_size=2)
    rolling.update(1.0, 2.0)
    rolling.update(1.0, 2.0)
    with pytest.raises(UnsupportedError, match="one ErrorStats per window") as caught:
        rolling.update(1.0, 2.0)
    assert isinstance(caught.value, EdgemseError)
    assert isinstance(caught.value, NotImplementedError)


def test_limits_that_differ_from_the_peer():
    metric = adapter.RMSE()
    assert math.isnan(metric.get())
    assert metrics.RMSE().get() == 0.0
    metric.update(1.0, math.nan)
    metric.update(1.0, 3.0)
    assert (metric.get(), metric.stats.nonfinite) == (2.0, 1)
    with pytest.raises(ValueError, match="not negative"):
        metric.update(1.0, 3.0, -1.0)


def test_far_from_zero_the_peer_agrees_on_the_mean_square():
    metric, peer = adapter.MSE(), metrics.MSE()
    rng = random.Random(1)
    for _ in range(1000):
        y = 1e12 + rng.gauss(0, 1)
        metric.update(y, y + 0.5)
        peer.update(y, y + 0.5)
    assert metric.get() == pytest.approx(peer.get(), rel=1e-12)


def test_the_examples_run():
    assert doctest.testmod(adapter).failed == 0


PERCENTAGES = [(adapter.MAPE, metrics.MAPE), (adapter.SMAPE, metrics.SMAPE)]


@pytest.mark.parametrize(("ours", "peer"), PERCENTAGES, ids=["MAPE", "SMAPE"])
def test_percentages_are_the_peers_at_zero_too(ours, peer):
    rng = random.Random(20261125)
    mine, theirs, half = ours(), peer(), ours()
    assert math.isnan(mine.get())
    for number in range(300):
        y_true = rng.choice([0.0, -0.0, 5e-324, rng.gauss(3, 2)])
        y_pred = rng.choice([0.0, y_true, rng.gauss(3, 2)])
        if abs(y_true) == 5e-324:
            y_pred = y_true  # or the peer's mean is astronomic, and compares nothing
        weight = rng.choice([1.0, 2.5])
        mine.update(y_true, y_pred, weight)
        theirs.update(y_true, y_pred, weight)
        if number % 2:
            half.update(y_true, y_pred, weight)
        assert mine.get() == pytest.approx(theirs.get(), rel=1e-12)
    assert mine.losses.count == 300
    assert repr(mine) == repr(theirs)
    assert mine.bigger_is_better == theirs.bigger_is_better
    count = half.losses.count
    half.merge(mine)
    assert half.losses.count == count + 300
    with pytest.raises(UnsupportedError, match="cannot take a sample back"):
        mine.revert(1.0, 1.0)


def test_three_conventions_of_a_percentage_of_zero():
    from sklearn.metrics import mean_absolute_percentage_error

    river, floored = adapter.MAPE(), LossStats("mape", floor=1.0)
    for y_true, y_pred in ((0.0, 0.5), (10.0, 9.0)):
        river.update(y_true, y_pred)
        floored.update(y_true, y_pred)
    assert river.get() == pytest.approx(5.0)  # per cent; the label of 0 counts as perfect
    assert floored.mean == pytest.approx(0.3)  # a share; 0.5 / 1.0 and 0.1
    assert mean_absolute_percentage_error([0.0, 10.0], [0.5, 9.0]) > 1e15
    smape = LossStats("smape")
    smape.update(0.0, 0.5)
    assert smape.mean == 2.0
    river.update(0.0, math.nan)
    assert river.losses.nonfinite == 1
