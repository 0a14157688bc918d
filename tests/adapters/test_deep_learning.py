"""TorchMetrics' and Keras' protocols, held to figures that those libraries document."""

from __future__ import annotations

import doctest
import math

import numpy
import pytest
from stats.test_libraries import Tensor

from edgemse.adapters import keras, torchmetrics

TARGET, PREDS = [2.5, 5.0, 4.0, 8.0], [3.0, 5.0, 2.5, 7.0]
"""The example of torchmetrics.MeanSquaredError: 0.8750."""


def test_torchmetrics_documented_example():
    metric = torchmetrics.MeanSquaredError()
    assert metric(Tensor(PREDS), Tensor(TARGET)) == 0.875
    assert metric.compute() == 0.875
    rooted = torchmetrics.MeanSquaredError(squared=False)
    rooted.update(Tensor(PREDS), Tensor(TARGET))
    assert rooted.compute() == math.sqrt(0.875)


def test_torchmetrics_accumulates_samples_not_batch_means():
    metric = torchmetrics.MeanSquaredError()
    assert metric([1.0], [0.0]) == 1.0
    assert metric([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]) == 0.0
    assert metric.compute() == 0.25


def test_torchmetrics_takes_any_one_shape_and_flattens():
    values = numpy.arange(24.0).reshape(2, 3, 4)
    for order in "CF":
        metric = torchmetrics.MeanSquaredError()
        metric.update(numpy.array(values, order=order), values + 2)
        assert (metric.compute(), metric.states[0].count) == (4.0, 24)
    for preds, target in (
        (values, values.reshape(6, 4)),
        ([1.0], [1.0, 2.0]),
        (numpy.zeros((2, 1)), [0.0, 0.0]),
    ):
        with pytest.raises(ValueError, match="has shape"):
            torchmetrics.MeanSquaredError().update(preds, target)


def test_torchmetrics_outputs_apart():
    metric = torchmetrics.MeanSquaredError(num_outputs=2)
    metric.update(Tensor([[1, 2], [3, 4]]), Tensor([[1, 0], [1, 4]]))
    assert metric.compute() == [2.0, 2.0]
    assert metric([[0, 0]], [[3, 0]]) == [9.0, 0.0]
    with pytest.raises(ValueError, match="outputs"):
        metric.update([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least 1"):
        torchmetrics.MeanSquaredError(num_outputs=0)


def test_torchmetrics_merges_and_resets():
    one, other = torchmetrics.MeanSquaredError(), torchmetrics.MeanSquaredError()
    one.update([1.0], [0.0])
    other.update([3.0], [0.0])
    one.merge_state(other)
    assert (one.compute(), other.compute()) == (5.0, 9.0)
    one.reset()
    assert math.isnan(one.compute())
    with pytest.raises(ValueError, match="outputs"):
        one.merge_state(torchmetrics.MeanSquaredError(num_outputs=2))


def test_keras_documented_examples():
    metric = keras.MeanSquaredError()
    metric.update_state([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    assert (metric.name, metric.result()) == ("mean_squared_error", 0.25)
    metric.reset_state()
    assert math.isnan(metric.result())
    metric.update_state([[0, 1], [0, 0]], [[1, 1], [0, 0]], sample_weight=[1, 0])
    assert metric.result() == 0.5
    rooted = keras.RootMeanSquaredError()
    rooted.update_state(Tensor([[0, 1], [0, 0]]), Tensor([[1, 1], [0, 0]]))
    assert (rooted.name, rooted.result()) == ("root_mean_squared_error", 0.5)


def test_keras_merges_states():
    parts = []
    for shift in (1.0, 3.0):
        parts.append(keras.RootMeanSquaredError())
        parts[-1].update_state([0.0, 0.0], [shift, shift])
    whole = keras.RootMeanSquaredError()
    whole.merge_state(parts)
    assert whole.result() == math.sqrt(5.0)
    assert whole.stats.count == 4


@pytest.mark.parametrize("module", [keras, torchmetrics])
def test_the_examples_run(module):
    ran = doctest.testmod(module)
    assert (ran.attempted > 0, ran.failed) == (True, 0)
