"""Metrics for River (needs `river`), for `evaluate`, pipelines and model selection.

Limits: nothing is ever taken back, so `revert` raises UnsupportedError and the metrics do not go
into `utils.Rolling` or `utils.TimeRolling`: keep one `ErrorStats` per window and merge them. `get`
of an empty metric is NaN, where River's own says 0.0. A NaN is counted in `stats.nonfinite` and
left out, where River's own stays NaN for ever; a negative weight is a ValueError.
"""

from __future__ import annotations

import math
from typing import NoReturn

from river.metrics.base import RegressionMetric

from edgemse.errors import UnsupportedError
from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.loss_stats import LossStats

__all__ = ["MAPE", "MSE", "RMSE", "SMAPE"]


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
        raise _no_way_back(self)

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


SMALLEST = 5e-324
"""The smallest double above 0: as a floor it divides nothing but a label of 0."""


class SMAPE(RegressionMetric):
    """Mean of 2 |e| / (|y_true| + |y_pred|) in per cent, as River has it: 0 where both are 0.

    `losses`, a `LossStats`, has the shares (0.1 is 10 %) and all that it can tell of them.

    Examples:
        >>> metric = SMAPE()
        >>> metric.update(1.0, 3.0)
        >>> metric, metric.losses.mean
        (SMAPE: 100., 1.0)
    """

    def __init__(self) -> None:
        self.losses = LossStats("smape")

    def update(self, y_true: float, y_pred: float, w: float = 1.0) -> None:
        """Fold one sample of weight `w` in; see `LossStats.update`."""
        self.losses.update(y_true, y_pred, w)

    def revert(self, y_true: float, y_pred: float, w: float = 1.0) -> NoReturn:  # noqa: ARG002
        """Raise UnsupportedError: a sample that was folded in cannot be taken out again."""
        raise _no_way_back(self)

    def merge(self, other: SMAPE) -> None:
        """Fold the samples of another metric in; it stays as it is."""
        self.losses.merge(other.losses)

    def get(self) -> float:
        """Return the mean in per cent; NaN when empty."""
        return 100 * self.losses.mean


class MAPE(SMAPE):
    """Mean of |e| / |y_true| in per cent, as River has it: any prediction of 0 counts as perfect.

    scikit-learn divides by 2^-52 there (`edgemse.adapters.sklearn`); `LossStats("mape", floor=...)`
    by a floor that you choose, which is what to follow in a fleet.

    Examples:
        >>> metric = MAPE()
        >>> metric.update(10.0, 9.0)
        >>> metric.update(0.0, 5.0)
        >>> metric
        MAPE: 5.
    """

    def __init__(self) -> None:
        self.losses = LossStats("mape", floor=SMALLEST)

    def update(self, y_true: float, y_pred: float, w: float = 1.0) -> None:
        """Fold one sample of weight `w` in; see `LossStats.update`."""
        perfect = y_true == 0 and math.isfinite(y_pred)
        self.losses.update(y_true, y_true if perfect else y_pred, w)


def _no_way_back(metric: RegressionMetric) -> UnsupportedError:
    return UnsupportedError(
        f"{type(metric).__name__} cannot take a sample back, so it does not roll;"
        " keep one ErrorStats per window and merge the windows that count"
    )
