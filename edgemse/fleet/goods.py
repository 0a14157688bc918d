"""How much of what an objective counts was good: by group, in each window up to one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from edgemse.fleet.asked import Asked
from edgemse.fleet.burning import SPANS, Counted
from edgemse.fleet.merging import Group, merged
from edgemse.fleet.promised import Objective
from edgemse.names import counted as number_of
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    from edgemse.fleet.windows import Numbers, Windows

__all__ = ["PERIOD", "Goods", "Series", "goods_of", "series_of"]

PERIOD = "period"
DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600
STEPS_MIN, STEPS_MAX, ROWS_MAX = 24, 10_000, 200_000
"""Of one group; a month of five minutes is 8,640. And of all: each has a histogram to merge."""
Key: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class Goods:
    """What was counted of one objective."""

    groups: dict[Key, dict[str, Counted | None]] = field(default_factory=dict)
    """Each group by its columns' values: the spans of SPANS and PERIOD, None where cells are wider
    than a span. A group is here if it has a cell in the period."""
    newest: dict[Key, bool] = field(default_factory=dict)
    """Whether the group has something to count within `absent_after_seconds`."""
    width_seconds: int = 0
    """How wide cells usually are; 0: there is none."""
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Series:
    """What was bad of how many, step by step without a gap, by group; all groups of one length."""

    step_seconds: int = 0
    groups: dict[Key, tuple[Numbers, Numbers]] = field(default_factory=dict)
    days: float = 0.0
    """From the first step with something to count to the last; 0: there is none."""
    _sums: dict[Key, dict[int, list[float]]] = field(default_factory=dict)

    def add(self, key: Key, start: int, bad: float, total: float) -> None:
        """Count in a step."""
        sums = self._sums.setdefault(key, {}).setdefault(start, [0.0, 0.0])
        sums[0] += bad
        sums[1] += total

    def closed(self) -> Series:
        """Return itself, with the steps as arrays."""
        import numpy as np

        starts = [start for steps in self._sums.values() for start in steps]
        if not starts:
            return self
        first, count = min(starts), (max(starts) - min(starts)) // self.step_seconds + 1
        self.days = count * self.step_seconds / DAY_SECONDS
        for key, steps in self._sums.items():
            bad, total = np.zeros(count), np.zeros(count)
            for start, sums in steps.items():
                place = (start - first) // self.step_seconds
                bad[place], total[place] = sums
            self.groups[key] = bad, total
        self._sums.clear()
        return self


def goods_of(reading: Reading, asked: Asked, objective: Objective) -> Goods:
    """Count what was good, in the spans that end at `asked.until`.

    `asked` is of the objective (Objective.selected). Windows belong to a span by their start; one
    that is younger than labels have time for is not asked yet.

    Raises ColumnError if the fleet has no such column.
    """
    from edgemse.fleet.windows import usual_step  # numpy takes 0.1 s

    asked = _due(asked, objective)
    found = Goods()
    near = _since(asked, SPANS["3d"])
    found.width_seconds = usual_step(reading, near, most=2**40)
    if objective.kind in ("rmse", "cost"):
        _count_windows(reading, asked, objective, found)
    else:
        _count_cells(reading, asked, objective, found)
    return found


def _counted(objective: Objective, group: Group) -> Counted:
    """Return what was good in one merged group, of kind share or coverage."""
    if objective.kind == "coverage":
        matched = float(group.coverage.matched)
        return Counted(matched, matched, matched, group.coverage.predictions)
    histogram = group.stats.histogram
    if histogram is None or not histogram.count:
        return Counted()
    tolerance, total = objective.counted_tolerance, histogram.count
    low, high = histogram.share_above_bounds(tolerance)
    # A count at a bound of a bucket is whole; dividing and multiplying may leave a hair.
    certain = (float(round(total * (1 - high))), float(round(total * (1 - low))))
    good = certain[0] if low == high else total * (1 - histogram.share_above(tolerance))
    return Counted(good, *certain, total)


def _windows(reading: Reading, asked: Asked, objective: Objective) -> Mapping[Key, Windows]:
    """Return squares, or costs, of each window of kind rmse or cost, by group and device."""
    from edgemse.fleet.costs import cost_of
    from edgemse.fleet.windows import SQUARES, windows_of

    by = asked.by
    if objective.per_device and "device" not in by:
        by = (*by, "device")
    cost = cost_of(replace(asked, options={"cost": objective.cost}))
    summed = SQUARES if cost is None else cost.sql()
    return windows_of(
        reading, replace(asked, by=by), 1, step_seconds=objective.window_seconds, summed=summed
    )[1]


def series_of(reading: Reading, asked: Asked, objective: Objective) -> Series:
    """Count what was bad step by step over the period that ends at `asked.until`.

    Steps are as wide as most windows are, or wider, so that there are at most 200,000 in all.

    Raises ColumnError if the fleet has no such column.
    """
    period = _since(_due(asked, objective), objective.period_days * DAY_SECONDS)
    found = Series()
    if objective.kind in ("rmse", "cost"):
        found.step_seconds = objective.window_seconds
        windowed = _windows(reading, period, objective)
        for key, windows in windowed.items():
            level = windows.mse**0.5 if objective.kind == "rmse" else windows.mse
            assert objective.limit is not None
            for start, count, each in zip(windows.start, windows.count, level, strict=True):
                if count >= objective.samples_min:
                    found.add(key[: len(asked.by)], int(start), float(each > objective.limit), 1.0)
        return found.closed()
    from edgemse.fleet.windows import usual_step

    groups = len(merged(reading, period, by=asked.by, histograms=False))
    most = max(STEPS_MIN, min(STEPS_MAX, ROWS_MAX // max(1, groups)))
    found.step_seconds = usual_step(reading, period, most) or HOUR_SECONDS
    histograms = objective.kind == "share"
    for group in merged(
        reading, period, by=asked.by, step_seconds=found.step_seconds, histograms=histograms
    ):
        counted = _counted(objective, group)
        if counted.total:
            assert group.start is not None
            bad = counted.total - counted.good
            found.add(tuple(group.by.values()), group.start, bad, float(counted.total))
    return found.closed()


def _due(asked: Asked, objective: Objective) -> Asked:
    """Return the same without the windows whose labels still have time."""
    assert asked.until is not None
    return replace(asked, until=max(1, asked.until - (objective.labels_within_seconds or 0)))


def _since(asked: Asked, seconds: int) -> Asked:
    """Return the same up to its end, and from so many seconds before at the earliest."""
    assert asked.until is not None
    return replace(asked, since=max(0, asked.since or 0, asked.until - seconds))


def _spans(objective: Objective) -> dict[str, int]:
    return {**SPANS, PERIOD: objective.period_days * DAY_SECONDS}


def _count_cells(reading: Reading, asked: Asked, objective: Objective, found: Goods) -> None:
    histograms = objective.kind == "share"
    bare = refused = 0
    recent: dict[Key, int] = {}
    for group in merged(
        reading, _since(asked, objective.absent_after_seconds), by=asked.by, histograms=False
    ):
        counts = group.stats.count if histograms else group.coverage.predictions
        recent[tuple(group.by.values())] = counts
    # The period comes first: it has every group that a shorter span has.
    for name, seconds in reversed(_spans(objective).items()):
        if name != PERIOD and found.width_seconds > seconds:
            for spans in found.groups.values():
                spans[name] = None
            continue
        for group in merged(reading, _since(asked, seconds), by=asked.by, histograms=histograms):
            key = tuple(group.by.values())
            spans = found.groups.setdefault(key, dict.fromkeys(_spans(objective), Counted()))
            spans[name] = _counted(objective, group)
            if name == PERIOD:
                bare += group.stats.count if histograms and group.stats.histogram is None else 0
                refused += group.stats.nonfinite + group.stats.out_of_range
    found.newest = {key: recent.get(key, 0) > 0 for key in found.groups}
    found.notes += _left_out(objective, bare, refused if histograms else 0)


def _left_out(objective: Objective, bare: int, refused: int) -> Iterator[str]:
    if bare:
        yield (
            f"{objective.name}: {number_of(bare, 'sample')} of groups that have a cell without a"
            " histogram: not counted"
        )
    if refused:
        yield (
            f"{objective.name}: {number_of(refused, 'sample')} with a NaN or beyond what is"
            " accepted: neither good nor bad"
        )


def _count_windows(reading: Reading, asked: Asked, objective: Objective, found: Goods) -> None:
    from edgemse.fleet.windows import beyond

    assert asked.until is not None
    assert objective.limit is not None
    period = _since(asked, objective.period_days * DAY_SECONDS)
    width, few = objective.window_seconds, 0
    sums: dict[Key, dict[str, list[int]]] = {}
    for key, windows in _windows(reading, period, objective).items():
        group = key[: len(asked.by)]
        spans = sums.setdefault(group, {name: [0, 0] for name in _spans(objective)})
        ended = windows.start + width <= asked.until
        enough = windows.count >= objective.samples_min
        few += int((ended & ~enough).sum())
        level = windows.mse**0.5 if objective.kind == "rmse" else windows.mse
        for name, seconds in _spans(objective).items():
            chosen = ended & enough & (windows.start >= asked.until - seconds)
            spans[name][0] += int((chosen & (level <= objective.limit)).sum())
            spans[name][1] += int(chosen.sum())
        recent = windows.start.max() >= asked.until - objective.absent_after_seconds - width
        found.newest[group] = found.newest.get(group, False) or bool(recent)
    finest = max(width, found.width_seconds)
    for group, spans in sums.items():
        found.groups[group] = {
            name: Counted(good, good, good, total) if _spans(objective)[name] >= finest else None
            for name, (good, total) in spans.items()
        }
    if few:
        found.notes.append(
            f"{objective.name}: {number_of(few, 'window')} with fewer than"
            f" {objective.samples_min:,} samples: not judged"
        )
    coarse, _ = beyond(reading, period, width)
    if coarse:
        found.notes.append(
            f"{objective.name}: {number_of(coarse, 'cell')} beyond the end of its windows of"
            f" {width:,} s: counted where they start"
        )
