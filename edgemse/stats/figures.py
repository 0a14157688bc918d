"""Every figure of a state by its name, for people, tables and JSON."""

from __future__ import annotations

from typing import Any

__all__ = ["FIGURES", "QUANTILES", "figures_of"]

FIGURES = (
    "count",
    "weight",
    "effective_count",
    "nonfinite",
    "out_of_range",
    "mse",
    "rmse",
    "bias",
    "error_variance",
    "skewness",
    "kurtosis",
    "mae",
    "min_error",
    "max_error",
    "r2",
    "nrmse",
    "correlation",
    "calibration_slope",
    "mse_standard_error",
)
QUANTILES = {"abs_p50": 0.5, "abs_p95": 0.95, "abs_p99": 0.99}
"""Quantiles of |e|, by the names that the commands and the HTTP API give them."""


def figures_of(stats: Any) -> dict[str, float]:
    """Return every figure of an `ErrorStats` by its name; NaN where it has none, as if empty.

    Examples:
        >>> from edgemse import ErrorStats
        >>> figures_of(ErrorStats())["count"], figures_of(ErrorStats())["rmse"]
        (0, nan)
    """
    stats = stats.copy()  # so that all are of one moment
    figures = {name: getattr(stats, name) for name in FIGURES}
    return figures | {name: stats.abs_quantile(q) for name, q in QUANTILES.items()}
