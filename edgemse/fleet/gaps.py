"""How far is each version from its offline baseline? Ratios, with how sure both sides are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import merged
from edgemse.fleet.said import Baseline, Baselines, baselines_of
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.base import Reading

__all__ = ["Gap", "GapAt", "gap_at", "gap_notes", "gaps", "part_of"]

VERSIONS = ("model", "version")
ANY = "SELECT 1 FROM baselines LIMIT 1"


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One version over the whole time that was asked for, against its baseline."""

    model: str
    version: str
    part: Mapping[str, str]
    """What the baseline is of; empty: everything."""
    baseline_rmse: float
    baseline_count: int | None
    """Samples; None: not known."""
    bare: bool
    """The baseline is a figure without a state: taken as exact, as how sure it is is not known."""
    rmse: float
    ratio: float
    """RMSE to that of the baseline."""
    low: float
    """95 % interval of the ratio, by windows; NaN: not enough data."""
    high: float


@dataclass(frozen=True, kw_only=True)
class GapAt:
    """The same of one step."""

    ratio: float
    low: float
    high: float


def part_of(asked: Asked, by: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the part that cells are of, by what is asked for and by their group."""
    named = {**asked.where, **(by or {})}
    return {n: value for n, value in named.items() if n not in (*VERSIONS, "measure")}


def gaps(reading: Reading, asked: Asked) -> tuple[list[Gap], dict[tuple[str, str], Baselines]]:
    """Return the gap of each version that has a baseline, and the baselines of all versions.

    Nothing at all where none of them has one, or of a followed measure: baselines are of the error.
    """
    from edgemse.fleet.levels import exactly, gap, of_state, of_windows
    from edgemse.fleet.windows import windows_of

    if asked.where.get("measure") or not len(reading.rows(ANY)):
        return [], {}
    states = merged(reading, asked, by=VERSIONS).stats()
    sets = {(who[0], who[1]): baselines_of(reading, *who) for who in states}
    if not any([*found] for found in sets.values()):
        return [], {}
    windows = windows_of(reading, replace(asked, by=VERSIONS), len(states))[1]
    found = []
    for (model, version), stats in states.items():
        base = sets[model, version].find(part_of(asked))
        if base is None:
            continue
        level = of_windows(stats, windows.get((model, version)))
        offline = exactly(base.rmse) if base.stats is None else of_state(base.stats)
        estimate = gap(level, offline)
        low, high = estimate.interval()
        found.append(
            Gap(
                model=model,
                version=version,
                part=base.by,
                baseline_rmse=base.rmse,
                baseline_count=base.count,
                bare=base.stats is None,
                rmse=stats.rmse,
                ratio=stats.rmse / base.rmse if stats.count else math.nan,
                low=low,
                high=high,
            )
        )
    return found, sets


def gap_at(stats: ErrorStats, low: float, high: float, base: Baseline | None) -> GapAt:
    """Return the ratio of a step's RMSE to a baseline's, from both intervals.

    With the distances a and b of each bound from its figure on the log scale, the bounds of the
    difference are at sqrt(a^2 + b^2) (MOVER). A bare baseline is taken as exact.

    Source: Zou and Donner, Construction of confidence limits about effect measures, Statistics in
    Medicine 27 (2008).
    """
    if base is None or not stats.count:
        return GapAt(ratio=math.nan, low=math.nan, high=math.nan)
    ratio = stats.rmse / base.rmse
    own = (base.rmse, base.rmse) if base.stats is None else base.stats.rmse_interval()
    if not (low > 0 and own[0] > 0):  # NaN too
        return GapAt(ratio=ratio, low=math.nan, high=math.nan)
    down = math.hypot(math.log(stats.rmse / low), math.log(own[1] / base.rmse))
    up = math.hypot(math.log(high / stats.rmse), math.log(base.rmse / own[0]))
    return GapAt(ratio=ratio, low=ratio * math.exp(-down), high=ratio * math.exp(up))


def gap_notes(
    found: Sequence[Gap], sets: Mapping[tuple[str, str], Baselines], part: Mapping[str, str]
) -> Iterator[str]:
    """Yield what to know of the baselines, in words; nothing where none is set."""
    if not found:
        return
    known = {(each.model, each.version) for each in found}
    without = sorted(" ".join(who) for who in sets.keys() - known)
    if without:
        more = f" and {len(without) - 5:,} more" if len(without) > 5 else ""
        yield f"no baseline is set of {', '.join(without[:5])}{more}"
    for each in found:
        name = f"{each.model} {each.version}"
        if each.bare:
            yield (
                f"the baseline of {name} is a bare figure: its own uncertainty is not known, and"
                " not in the interval"
            )
        if math.isnan(each.low):
            yield f"the gap of {name} has no interval: not enough data, of its windows or offline"
        if each.part != part:
            yield f"the baseline of {name} is of {_words(each.part)}, not of {_words(part)}"


def _words(part: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in part.items()) or "everything"
