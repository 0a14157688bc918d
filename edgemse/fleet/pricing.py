"""The cost of one version against that of another: by device, or by windows if these are few."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from edgemse.fleet.answers import text
from edgemse.fleet.asked import Asked
from edgemse.fleet.costs import Cost
from edgemse.names import counted
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    from edgemse.fleet.arms import Arm, Estimate
    from edgemse.fleet.windows import Windows

__all__ = ["CostCompared", "Sides", "cost_notes", "costs_compared", "segment_cost"]

Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CostCompared:
    """Version b's cost against version a's."""

    a: float
    """Mean cost of a sample, over all samples."""
    b: float
    total_a: float
    """Of all samples."""
    total_b: float
    ratio: float
    """Of the cost of a sample, b to a; each device counts the same."""
    low: float
    """95 % interval."""
    high: float
    p_value: float
    """Two-sided, of the hypothesis that both cost the same."""
    method: str
    """As of the RMSE: "paired", "unpaired", "windows", or "" where there is not enough data."""
    devices: int

    def sentences(self) -> Iterator[str]:
        """Yield what was found, in words."""
        yield (
            f"cost of a sample {text(self.b)} to {text(self.a)}: {text(self.ratio)} (95 %:"
            f" {text(self.low)} to {text(self.high)}; p = {text(self.p_value)})"
        )


class Sides(Protocol):
    """Both versions by device."""

    @property
    def a(self) -> Arm:
        """Of version a."""
        ...

    @property
    def b(self) -> Arm:
        """Of version b."""
        ...


def costs_compared(
    reading: Reading,
    asked: Asked,
    cost: Cost | None,
    found: Mapping[Key, Sides],
) -> dict[Key, CostCompared]:
    """Return the cost of b against that of a, of all cells by the key () and of each segment.

    Nothing where no cost is asked for.

    As the RMSE is compared (edgemse.fleet.arms): by the log of each device's cost of a sample, and
    where there are too few devices by windows of the cost.
    """
    if cost is None:
        return {}
    from edgemse.fleet.arms import by_devices
    from edgemse.fleet.sides import windows_of_both

    def value(stats: ErrorStats) -> float:
        mean = cost.per_sample(stats)
        return math.log(mean) if mean > 0 else math.nan

    estimates = {key: by_devices(each.a, each.b, value) for key, each in found.items()}
    few = [key for key, estimate in estimates.items() if not estimate.method]
    if few:
        versions = (asked.options[name] for name in ("a", "b"))
        sides = [replace(asked, where={**asked.where, "version": version}) for version in versions]
        parts = {key: (each.a, each.b) for key, each in found.items()}
        a, b = windows_of_both(reading, asked, sides, parts, cost.sql())
        for key in few:
            estimates[key] = _by_windows(a.get(key), b.get(key), estimates[key])
    return {key: _compared(cost, each, estimates[key]) for key, each in found.items()}


def _by_windows(a: Windows | None, b: Windows | None, few: Estimate) -> Estimate:
    """Compare by windows; by_windows halves, as an RMSE is a root, and a cost is none."""
    from edgemse.fleet.arms import by_windows

    if a is None or b is None:  # no device ran both
        return few
    half = by_windows(a, b, few.devices)
    return replace(half, value=2 * half.value, error=2 * half.error)


def _compared(cost: Cost, each: Sides, estimate: Estimate) -> CostCompared:
    a, b = merge_all(each.a.values()), merge_all(each.b.values())
    low, high = estimate.interval()
    return CostCompared(
        a=cost.per_sample(a),
        b=cost.per_sample(b),
        total_a=cost.per_sample(a) * a.weight if a.count else 0.0,
        total_b=cost.per_sample(b) * b.weight if b.count else 0.0,
        ratio=estimate.ratio,
        low=low,
        high=high,
        p_value=estimate.two_sided(),
        method=estimate.method,
        devices=estimate.devices,
    )


def segment_cost(costs: Mapping[Key, CostCompared], by: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a segment that are of its cost; none unless asked for."""
    found = costs.get(tuple(by.values()))
    if found is None:
        return {}
    return {"cost_ratio": found.ratio, "cost_low": found.low, "cost_high": found.high}


def cost_notes(cost: Cost | None, arms: Iterable[Arm]) -> Iterator[str]:
    """Yield how many devices have no cost in a version, so that there is no ratio of it."""
    if cost is None:
        return
    from edgemse.fleet.arms import usable

    free = {
        name
        for arm in arms
        for name, stats in usable(arm).items()
        if not cost.per_sample(stats) > 0
    }
    if free:
        devices = counted(len(free), "device")
        yield f"left out of the ratio of the cost: {devices} whose errors in a version cost nothing"
