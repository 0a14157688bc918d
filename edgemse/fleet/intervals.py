"""The 95 % interval of one group's RMSE, by its windows where there are enough of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgemse.stats.error_stats import ErrorStats

if TYPE_CHECKING:
    from edgemse.fleet.noise import Noise

__all__ = ["rmse_intervals"]


def rmse_intervals(noise: Noise, groups: Mapping[Any, ErrorStats]) -> dict[Any, dict[str, float]]:
    """Return `low` and `high` of each group: the wider of the state's own and that by windows.

    On the log scale; the wider, because the few degrees of freedom of the latter may by chance make
    it far too narrow. NaN under 20 samples; what both assume stands in numerics.md and
    `windows.ewc`.
    """
    import numpy as np
    from scipy.special import stdtrit

    found = dict(zip(groups, (stats.rmse_interval() for stats in groups.values()), strict=True))
    cv = np.divide(
        noise.variance**0.5, noise.mse, out=np.zeros(len(noise.mse)), where=noise.mse > 0
    )
    reach = stdtrit(noise.freedom, 0.975) * cv / 2
    for place, key in enumerate(noise.keys):
        low, high = found[key]
        if noise.from_windows[place] and low > 0:
            rmse, factor = groups[key].rmse, math.exp(reach[place])
            found[key] = min(low, rmse / factor), max(high, rmse * factor)
    return {key: {"low": low, "high": high} for key, (low, high) in found.items()}
