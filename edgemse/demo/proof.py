"""The proof: what the collector has merged, held against the raw samples that were kept aside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from edgemse.demo.truth import Truth
from edgemse.stats.error_stats import ErrorStats

__all__ = ["Comparison", "Key", "Proof", "prove"]

Key: TypeAlias = tuple[str, str]
"""Device and version."""
MSE_DIFFERENCE_MAX = 1e-12
"""Relative; two sums of a million squares in another order differ by less than 1e-13."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One device and version: merged by the collector, beside the raw samples."""

    count: int
    raw_count: int
    mse: float
    raw_mse: float

    @property
    def lost(self) -> int:
        """Raw samples that the collector does not have."""
        return max(0, self.raw_count - self.count)

    @property
    def counted_twice(self) -> int:
        """Samples that the collector has beyond the raw ones."""
        return max(0, self.count - self.raw_count)

    @property
    def difference(self) -> float:
        """The relative difference of the two MSE; infinite if only one of them is 0 or is there."""
        if self.mse == self.raw_mse:
            return 0.0
        if not self.raw_mse > 0 or not math.isfinite(self.mse):
            return math.inf
        return abs(self.mse - self.raw_mse) / self.raw_mse

    @property
    def holds(self) -> bool:
        """Whether both agree, and are about something."""
        agree = self.count == self.raw_count and self.difference <= MSE_DIFFERENCE_MAX
        return agree and self.raw_count > 0


@dataclass(frozen=True, slots=True)
class Proof:
    """All comparisons."""

    comparisons: Mapping[Key, Comparison]

    @property
    def holds(self) -> bool:
        """Whether each comparison holds, and there is one."""
        return bool(self.comparisons) and all(c.holds for c in self.comparisons.values())

    @property
    def lost(self) -> int:
        """Samples lost, all told."""
        return sum(c.lost for c in self.comparisons.values())

    @property
    def counted_twice(self) -> int:
        """Samples counted twice, all told."""
        return sum(c.counted_twice for c in self.comparisons.values())

    @property
    def difference(self) -> float:
        """The largest relative difference of an MSE."""
        return max((c.difference for c in self.comparisons.values()), default=math.nan)


def prove(merged: Mapping[Key, ErrorStats], truth: Mapping[Key, Truth]) -> Proof:
    """Compare each device and version that either side knows of."""
    nothing = Truth(0, math.nan, 0, 0)
    comparisons = {}
    for key in sorted(merged.keys() | truth.keys()):
        stats, raw = merged.get(key, ErrorStats()), truth.get(key, nothing)
        comparisons[key] = Comparison(stats.count, raw.count, stats.mse, raw.mse)
    return Proof(comparisons)
