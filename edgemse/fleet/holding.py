"""A version held against figures: its own offline baseline, or a limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgemse.errors import SettingsError
from edgemse.fleet.arms import Estimate
from edgemse.fleet.asked import Asked
from edgemse.fleet.gaps import part_of
from edgemse.fleet.levels import exactly, gap, of_devices, of_state, of_windows, wider
from edgemse.fleet.merging import merged
from edgemse.fleet.refusing import refused_notes
from edgemse.fleet.said import Baselines, baselines_of
from edgemse.fleet.windows import WINDOWS_MAX, Windows, usual_step, windows_of
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores.base import Reading

__all__ = ["Held", "against_figures"]

Key = tuple[str, ...]
BASELINE, LIMIT = "baseline", "limit"
DEVICES = "devices"


@dataclass(frozen=True, slots=True)
class Held:
    """A log ratio, what it is held against, and how large it may be."""

    by: Mapping[str, str]
    against: str
    estimate: Estimate
    limit: float
    rmse: float = math.nan
    reference: float = math.nan


@dataclass(frozen=True, slots=True)
class _Level:
    """How wrong the version is in a segment (or in all), and how surely so."""

    by: Mapping[str, str]
    stats: ErrorStats
    estimate: Estimate


def against_figures(reading: Reading, asked: Asked) -> tuple[list[Held], list[str], list[str]]:
    """Return what is held against the baseline and against the limit, what is missing, and notes.

    The ratio is of the RMSE over all samples. Its bounds are by the windows of these devices
    together (levels.py), so that they hold for windows that follow each other and for what devices
    have in common at a time. With `unit` devices they are the wider of these and, from three
    devices on, of a jackknife over devices: they hold for others like them too. The jackknife
    stands in where there are too few windows. Not enough data where neither is known.
    """
    one = _side(asked)
    if asked.options["against"] and ({"model", "version"} & set(one.by)):
        raise SettingsError("gate: a baseline is of one version: not --by model or version")
    levels = list(_levels(reading, one))
    held: list[Held] = []
    missing: list[str] = []
    notes: list[str] = []
    if not any(level.stats.count or level.stats.nonfinite for level in levels):
        missing.append(f"no sample: nothing is {one.in_words()}")
    if asked.options["against"]:
        who, baselines = _baselines(reading, one)
        held += [_against_baseline(one, asked, each, baselines) for each in levels]
        if who and not [*baselines]:
            missing.append(f"no baseline is set of {who}; edgemse fleet baseline set does")
        else:
            notes += _baseline_notes(one, levels, who, baselines)
    most = asked.options["max_rmse"]
    if most is not None:
        held += [
            Held(each.by, LIMIT, gap(each.estimate, exactly(most)), 1.0, each.stats.rmse, most)
            for each in levels
        ]
    notes += _level_notes(levels)
    name = f"version {one.where['version']}" if "version" in one.where else "what is held"
    notes += refused_notes({name: levels[0].stats})
    return held, missing, notes


def _side(asked: Asked) -> Asked:
    version = asked.options["b"]
    if version is None:
        return asked
    if "version" in asked.where or "version" in asked.by:
        raise SettingsError("gate: the version is --b, not --version or --by version too")
    return replace(asked, where={**asked.where, "version": version})


def _levels(reading: Reading, one: Asked) -> Iterator[_Level]:
    """Yield the level of all cells, then of each segment."""
    columns = tuple(dict.fromkeys(("device", *one.by)))
    arms: dict[Key, dict[str, ErrorStats]] = {(): {}}
    for group in merged(reading, one, by=columns):
        device = group.by["device"]
        for key in {(), tuple(group.by[name] for name in one.by)}:
            before = arms.setdefault(key, {}).get(device)
            arms[key][device] = merge_all([before, group.stats]) if before else group.stats
    step = usual_step(reading, one, WINDOWS_MAX)
    windows: dict[Key, Windows] = {}
    if step:
        windows |= windows_of(reading, replace(one, by=()), 1, step)[1]
        windows |= windows_of(reading, one, len(arms), step)[1] if one.by else {}
    for key in sorted(arms):
        stats = merge_all(arms[key].values())
        estimate = of_windows(stats, windows.get(key))
        if one.options["unit"] == DEVICES or not estimate.method:
            estimate = wider(estimate, of_devices(stats, arms[key]))
        yield _Level(dict(zip(one.by, key, strict=bool(key))) if key else {}, stats, estimate)


def _baselines(reading: Reading, one: Asked) -> tuple[str, Baselines]:
    """Return the name of the one version that the cells are of, and its baselines."""
    found = [*merged(reading, one, by=("model", "version"), histograms=False).stats()]
    if len(found) > 1:
        names = ", ".join(" ".join(who) for who in found[:5])
        raise SettingsError(
            f"gate: the cells are of {len(found):,} versions ({names}); wanted one, by --model M"
            " and --b V"
        )
    if not found:
        return "", Baselines(())
    return " ".join(found[0]), baselines_of(reading, *found[0])


def _against_baseline(one: Asked, asked: Asked, level: _Level, baselines: Baselines) -> Held:
    base = baselines.find(part_of(one, level.by))
    limit = asked.options["max_ratio"]
    if base is None:
        unknown = Estimate(math.nan, math.nan, math.nan, 0, "")
        return Held(level.by, BASELINE, unknown, limit, level.stats.rmse)
    offline = exactly(base.rmse) if base.stats is None else of_state(base.stats)
    estimate = gap(level.estimate, offline)
    return Held(level.by, BASELINE, estimate, limit, level.stats.rmse, base.rmse)


def _baseline_notes(
    one: Asked, levels: list[_Level], who: str, baselines: Baselines
) -> Iterator[str]:
    parts = [part_of(one, level.by) for level in levels]
    used = [(part, base) for part in parts if (base := baselines.find(part)) is not None]
    if len(used) < len(parts) and who:
        yield f"{len(parts) - len(used)} of {len(parts)} checks have no baseline of {who}"
    others = sum(base.by != part for part, base in used)
    if others:
        yield (
            f"{others} of {len(parts)} checks have no baseline of their own: held against that of"
            " everything"
        )
    if any(base.stats is None for _, base in used):
        yield (
            f"a baseline of {who} is a bare figure: its own uncertainty is not known, and not in"
            " the bounds"
        )


def _level_notes(levels: list[_Level]) -> Iterator[str]:
    unknown = sum(not level.estimate.method for level in levels)
    if unknown:
        yield (
            f"{unknown} of {len(levels)} groups have too few samples, windows or devices, or"
            " windows that follow each other too closely: no bounds"
        )
    if any(level.estimate.method == "windows" for level in levels):
        yield "bounds by windows speak of these devices only (unit devices: of others like them)"
