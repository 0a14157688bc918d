"""TorchMetrics' update, compute, reset and merge_state over ErrorStats, without PyTorch.

Limits: predictions come first, as there, and floats come back, not tensors. Tensors are taken off
their graph and device (`detach`, `cpu`, `numpy`); nothing can be differentiated through a state.
There is no synchronisation between processes: send `to_bytes` of the states and merge. `compute`
of an empty metric is NaN. NaN is counted in `nonfinite` of a state and left out.
"""

from __future__ import annotations

from typing import Any

from edgemse.stats.columns import buffer_of, flattened
from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.outputs import update_columns

__all__ = ["MeanSquaredError"]


class MeanSquaredError:
    """Mean squared error of all elements, or of each output apart.

    Args:
        squared: False for the root of it.
        num_outputs: 1: tensors of any one shape, all their elements alike; more: shape
            (n, num_outputs), and `compute` gives a list.

    Examples:
        >>> metric = MeanSquaredError()
        >>> metric.update([3.0, 5.0, 2.5, 7.0], [2.5, 5.0, 4.0, 8.0])
        >>> metric.compute()
        0.875
    """

    def __init__(self, squared: bool = True, num_outputs: int = 1) -> None:
        if num_outputs < 1:
            raise ValueError(f"num_outputs is {num_outputs!r}; at least 1 is wanted")
        self.squared = squared
        self.num_outputs = num_outputs
        self.states = [ErrorStats() for _ in range(num_outputs)]

    def update(self, preds: Any, target: Any) -> None:
        """Fold a batch in.

        Raises:
            ValueError: the shapes differ, or are not (n, num_outputs) where that is above 1.
        """
        if self.num_outputs > 1:
            update_columns(target, preds, into=self.states)
            return
        preds, target = buffer_of(preds, "preds"), buffer_of(target, "target")
        shapes = memoryview(preds).shape, memoryview(target).shape
        if shapes[0] != shapes[1]:
            raise ValueError(f"preds has shape {shapes[0]} and target {shapes[1]}; one is wanted")
        self.states[0].update_many(flattened(target, "target"), flattened(preds, "preds"))

    def compute(self) -> float | list[float]:
        """Return the figure over everything since the last reset, a list for several outputs."""
        values = [state.mse if self.squared else state.rmse for state in self.states]
        return values[0] if self.num_outputs == 1 else values

    def __call__(self, preds: Any, target: Any) -> float | list[float]:
        """Fold a batch in and return the figure of that batch alone."""
        batch = MeanSquaredError(self.squared, self.num_outputs)
        batch.update(preds, target)
        self.merge_state(batch)
        return batch.compute()

    def merge_state(self, incoming_state: MeanSquaredError) -> None:
        """Fold the samples of another metric in; it stays as it is.

        Raises:
            ValueError: it has another number of outputs.
        """
        if incoming_state.num_outputs != self.num_outputs:
            raise ValueError(
                f"a metric of {incoming_state.num_outputs} outputs cannot be merged into one of"
                f" {self.num_outputs}"
            )
        for mine, theirs in zip(self.states, incoming_state.states, strict=True):
            mine.merge(theirs)

    def reset(self) -> None:
        """Forget every sample."""
        self.states = [ErrorStats() for _ in range(self.num_outputs)]
