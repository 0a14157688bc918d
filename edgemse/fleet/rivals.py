"""Is a version worse than another, or only the devices that run it? For a diagnosis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edgemse.fleet.compare import CompareAnswer
from edgemse.stats.error_stats import ErrorStats, merge_all

__all__ = ["Rival", "others_moved", "rival"]

SAME_DEVICES = ("paired", "windows")
"""Methods of compare that hold devices against themselves."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A version against the main one."""

    ratio: float
    low: float
    high: float
    p_value: float
    """Two-sided, of "no difference"; 1 where its devices explain it; NaN: not enough data."""
    parts: tuple[str, ...]
    """Segments in which it is worse."""
    segments: int
    method: str
    """As of compare, and against what; empty: not enough data."""
    itself: CompareAnswer | None = None
    """Its devices against themselves then, where others ran the main version now."""


def rival(
    found: CompareAnswer, earlier: Callable[[], CompareAnswer], moved: Callable[[], float]
) -> Rival:
    """Judge a comparison of now: of other devices, what differs may be the devices.

    Then `earlier`, which compares the version with the main one on the same devices then, has to
    say so too. Where too few devices run it to be compared with others now, `earlier` decides, if
    it exceeds what the other devices `moved` by in that time.
    """
    alone = Rival(
        found.ratio,
        found.low,
        found.high,
        found.p_value,
        _worse(found),
        len(found.segments),
        found.method,
    )
    if found.method in SAME_DEVICES:
        return alone
    before = earlier()
    if before.method not in SAME_DEVICES:
        return alone
    parts = _worse(before)
    if found.method:
        p = max(found.p_value, before.p_value) if before.ratio > 1 else 1.0
        kept = tuple(name for name in alone.parts if name in parts)
        return replace(alone, p_value=p, parts=kept, itself=before)
    more = before.low > moved()
    return Rival(
        before.ratio,
        before.low,
        before.high,
        before.p_value if more else 1.0,
        parts if more else (),
        len(before.segments),
        f"{before.method}, its devices to themselves before",
    )


def others_moved(
    then: Mapping[str, ErrorStats], now: Mapping[str, ErrorStats], runs: Mapping[str, str], own: str
) -> float:
    """Return the RMSE now to then of the devices that do not run a version; NaN: there is none."""
    rest = [name for name in then.keys() & now.keys() if runs.get(name) != own]
    before, after = (merge_all(span[name] for name in sorted(rest)) for span in (then, now))
    return after.rmse / before.rmse if before.count and before.mse > 0 else math.nan


def _worse(found: CompareAnswer) -> tuple[str, ...]:
    return tuple(", ".join(s.by.values()) or chr(39) * 2 for s in found.segments if s.worse)
