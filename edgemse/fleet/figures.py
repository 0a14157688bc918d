"""The figures of one group of statistics, as answers carry them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from edgemse.stats.error_stats import ErrorStats

__all__ = ["Figures"]

QUANTILES = {"abs_p50": 0.5, "abs_p95": 0.95, "abs_p99": 0.99}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The error of one group, in the unit of the label; of nothing all but the counts are NaN."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "count": "samples",
        "rmse": "RMSE",
        "mse": "MSE",
        "mse_standard_error": "± s.e.",
        "bias": "bias",
        "mae": "MAE",
        "r2": "R²",
        "abs_p50": "|e| p50",
        "abs_p95": "|e| p95",
        "nonfinite": "not finite",
    }

    by: Mapping[str, str]
    """The group's value of each column; empty for the total."""
    count: int
    """Accepted samples."""
    mse: float
    """Mean squared error, in the unit squared."""
    rmse: float
    """Its root."""
    bias: float
    """Mean error y_pred - y_true."""
    error_variance: float
    """Population variance of the error, in the unit squared."""
    mae: float
    """Mean absolute error."""
    r2: float
    """Share of the label's variance that is explained."""
    mse_standard_error: float
    """Standard error of `mse`, for samples that do not depend on each other."""
    nonfinite: int
    """Samples refused for a NaN or an infinity."""
    abs_p50: float
    """Median absolute error; quantiles are less than 9.1 % off, usually under 1 %."""
    abs_p95: float
    abs_p99: float

    @classmethod
    def values_of(cls, by: Mapping[str, str], stats: ErrorStats) -> dict[str, Any]:
        """Return the fields of a group's statistics by name, for this class or a child."""
        values = {name: getattr(stats, name) for name in OF_STATS}
        return {"by": dict(by)} | values | {q: stats.abs_quantile(p) for q, p in QUANTILES.items()}

    @classmethod
    def of(cls, by: Mapping[str, str], stats: ErrorStats) -> Figures:
        """Return the figures of a group's statistics."""
        return Figures(**Figures.values_of(by, stats))


OF_STATS = [each.name for each in fields(Figures) if each.name not in ("by", *QUANTILES)]
"""What a state has by the same name."""
