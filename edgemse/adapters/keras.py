"""Keras' update_state, result, reset_state and merge_state over ErrorStats, without Keras.

Limits: floats come back, not tensors; it is for loops and callbacks in Python, since
`model.compile(metrics=...)` traces what it is given. Shapes (n,) and (n, outputs) only. `result` of
an empty metric is NaN, where Keras says 0.0. NaN is counted in `stats.nonfinite` and left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.outputs import update_columns

__all__ = ["MeanSquaredError", "RootMeanSquaredError"]


class MeanSquaredError:
    """Mean squared error of all elements, whatever their output.

    Examples:
        >>> metric = MeanSquaredError()
        >>> metric.update_state([[0, 1], [0, 0]], [[1, 1], [0, 0]])
        >>> metric.result()
        0.25
    """

    def __init__(self, name: str = "mean_squared_error") -> None:
        self.name = name
        self.stats = ErrorStats()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Fold a batch in; `sample_weight` has shape (n,) and holds for every output.

        Raises:
            ValueError: the shapes differ, or a weight is negative.
        """
        for output in update_columns(y_true, y_pred, sample_weight):
            self.stats.merge(output)

    def result(self) -> float:
        """Return the figure over everything since the last reset; NaN when empty."""
        return self.stats.mse

    def merge_state(self, metrics: Iterable[MeanSquaredError]) -> None:
        """Fold the samples of other metrics in; they stay as they are."""
        for metric in metrics:
            self.stats.merge(metric.stats)

    def reset_state(self) -> None:
        """Forget every sample."""
        self.stats = ErrorStats()


class RootMeanSquaredError(MeanSquaredError):
    """Root of the mean squared error of all elements."""

    def __init__(self, name: str = "root_mean_squared_error") -> None:
        super().__init__(name)

    def result(self) -> float:
        """Return the figure over everything since the last reset; NaN when empty."""
        return self.stats.rmse
