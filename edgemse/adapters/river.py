"""Metrics for River (needs `river`), for `evaluate`, pipelines and model selection.

Limits: nothing is ever taken back, so `revert` raises UnsupportedError and the metrics do not go
into `utils.Rolling` or `utils.TimeRolling`: keep one `ErrorStats` per window and merge them. `get`
of an empty metric is NaN, where River's own says 0.0. A NaN is counted in `stats.nonfinite` and
left out, where River's own stays NaN for ever; a negative weight is a ValueError.
"""

from __future__ import annotations

from typing import NoReturn

from river.metrics.base import RegressionMetric

from edgemse.errors import UnsupportedError
from edgemse.stats.error_stats import ErrorStats

__all__ = ["MSE", "RMSE"]


class MSE(RegressionMetric):
    """Mean squared error over an `ErrorStats`, which `stats` hands out for all that it can tell.

    Examples:
        >>> metric = MSE()
        >>> for y_true, y_pred in zip([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]):
        ...     metric.update(y_true, y_pred)
        >>> metric, metric.stats.bias
        (MSE: 0.375, 0.25)
    """

    def __init__(self) -> None:
        self.stats = ErrorStats()

    def update(self, y_true: float, y_pred: float, w: float = 1.0) -> None:
        """Fold one sample of weight `w` in; see `ErrorStats.update`."""
        self.stats.update(y_true, y_pred, w)

    def revert(self, y_true: float, y_pred: float, w: float = 1.0) -> NoReturn:  # noqa: ARG002
        """Raise UnsupportedError: a sample that was folded in cannot be taken out again."""
        raise UnsupportedError(
            f"{type(self).__name__} cannot take a sample back, so it does not roll;"
            " keep one ErrorStats per window and merge the windows that count"
        )

    def merge(self, other: MSE) -> None:
        """Fold the samples of another metric in; it stays as it is."""
        self.stats.merge(other.stats)

    def get(self) -> float:
        """Return the mean squared error; NaN when empty."""
        return self.stats.mse


class RMSE(MSE):
    """Root of the mean squared error."""

    def get(self) -> float:
        """Return the root of the mean squared error; NaN when empty."""
        return self.stats.rmse
