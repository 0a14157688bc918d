"""The figures of groups of statistics, as the commands and the HTTP API report them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edgemse.fleet.merging import Groups
from edgemse.fleet.variance import anova, variance_components
from edgemse.stats.error_stats import ErrorStats, merge_all

__all__ = ["figures", "or_none", "variance_report"]

NAMES = ("count", "mse", "rmse", "bias", "error_variance", "mae", "r2", "mse_standard_error")
QUANTILES = {"abs_p50": 0.5, "abs_p95": 0.95, "abs_p99": 0.99}


def or_none(value: Any) -> Any:
    """Return the value, but None for NaN and infinities, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def figures(by: dict[str, str], stats: ErrorStats) -> dict[str, Any]:
    """Return the figures of one group, ready for JSON."""
    return {
        "by": by,
        **{name: or_none(getattr(stats, name)) for name in NAMES},
        "nonfinite": stats.nonfinite,
        **{name: or_none(stats.abs_quantile(q)) for name, q in QUANTILES.items()},
    }


def variance_report(by: Sequence[str], groups: Groups) -> dict[str, Any]:
    """Return the figures of each group and of all, and how the groups differ, ready for JSON."""
    components = variance_components(groups)._asdict()
    components["anova"] = anova(groups)._asdict()
    components["anova"] = {name: or_none(value) for name, value in components["anova"].items()}
    return {
        "groups": [
            figures(dict(zip(by, key, strict=True)), stats) for key, stats in groups.items()
        ],
        "total": figures({}, merge_all(groups.values())),
        "variance": {name: or_none(value) for name, value in components.items()},
    }
