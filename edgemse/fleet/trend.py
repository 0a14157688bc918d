"""How wrong is it lately, and is it getting worse? The error step by step."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse import times
from edgemse.errors import SettingsError, UsageError
from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, percent, text
from edgemse.fleet.asked import Asked, Option, iso_time
from edgemse.fleet.costs import OPTION as COST
from edgemse.fleet.costs import Cost, Costed, cost_level, cost_of, costed, costs_of
from edgemse.fleet.figures import Figures
from edgemse.fleet.gaps import Gap, gap_at, gap_notes, gaps, part_of
from edgemse.fleet.merging import Group, merged
from edgemse.fleet.questions import Question
from edgemse.fleet.said import Baseline
from edgemse.names import counted
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["QUESTION", "Change", "Point", "Slope", "TrendAnswer", "ask"]

STEPS_MAX = 10_000
DAY_SECONDS = 86_400
COUNT_MIN = 20
"""Samples of a step below which it has no interval (numerics.md)."""


@dataclass(frozen=True, kw_only=True)
class Point(Figures):
    """The figures of one step that holds a cell."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "start": "start",
        "count": "samples",
        "rmse": "RMSE",
        "low": "low",
        "high": "high",
        "rolling_rmse": "rolling",
        "gap": "to offline",
        "gap_low": "low",
        "gap_high": "high",
        "cost": "cost",
        "cost_low": "low",
        "cost_high": "high",
        "cost_total": "total cost",
        "bias": "bias",
        "abs_p95": "|e| p95",
        "coverage": "labelled",
        "lag_p95_seconds": "lag p95 s",
    }

    start: str
    """When the step begins, in ISO 8601."""
    width_seconds: int
    low: float
    """95 % interval of the RMSE; NaN under 20 samples."""
    high: float
    coverage: float
    """The share of the step's predictions whose label came; NaN where samples came whole."""
    lag_p95_seconds: float
    """95 % of these labels came within so long; NaN where none was matched."""
    rolling_rmse: float
    """RMSE over the time asked for (`rolling`) that ends with this step; NaN unless asked."""
    gap: float
    """RMSE to that of the version's baseline; NaN if there is none, or cells of two versions."""
    gap_low: float
    """95 % interval, of the step's and the baseline's."""
    gap_high: float
    cost: float
    """Mean cost of a sample; NaN unless asked for, like what follows."""
    cost_low: float
    """95 % interval of the mean."""
    cost_high: float
    cost_total: float
    """Of all samples of the step."""


@dataclass(frozen=True, kw_only=True)
class Slope:
    """The slope of log RMSE over all steps, as percent of RMSE a day."""

    percent_per_day: float
    low: float
    """95 % interval, which holds for steps that follow each other."""
    high: float
    theil_sen_percent_per_day: float
    """The median slope between blocks of steps, which a single bad one does not move."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A step at which the error changed its level."""

    at: str
    """When the first step of the new level begins, in ISO 8601."""
    ratio: float
    """RMSE of the new level to that of the one before it."""


@dataclass(frozen=True, kw_only=True)
class TrendAnswer(Answer):
    """The error step by step, in the order of time; steps without a cell are left out."""

    ROWS: ClassVar[str] = "points"
    HEADINGS: ClassVar[Mapping[str, str]] = Point.HEADINGS
    WORDS: ClassVar[Collection[str]] = ("start",)
    IF_KNOWN: ClassVar[frozenset[str]] = frozenset(
        {"gap", "gap_low", "gap_high", "cost", "cost_low", "cost_high", "cost_total"}
        | {"rolling_rmse", "coverage", "lag_p95_seconds"}
    )

    points: tuple[Point, ...]
    slope: Slope | None
    """None: fewer than 30 steps."""
    changes: tuple[Change, ...]
    cycles: tuple[str, ...]
    """What was taken out before looking for slope and changes: "daily", "weekly"."""
    design_effect: float
    """How many times more neighbouring steps differ than independent samples would make them."""
    gaps: tuple[Gap, ...]
    """Each version that has a baseline against it, over all steps."""
    cost: Costed | None = None
    """Of all steps; None unless asked for."""

    def sentences(self) -> Iterator[str]:
        """Yield gaps, cost, slope and changes."""
        for gap in self.gaps:
            yield (
                f"RMSE of {gap.model} {gap.version} to its baseline of {text(gap.baseline_rmse)}:"
                f" {text(gap.ratio)} (95 %: {text(gap.low)} to {text(gap.high)})"
            )
        if self.cost is not None:
            yield (
                f"Cost: {text(self.cost.total)} in all, {text(self.cost.per_sample)} a sample"
                f" (95 %: {text(self.cost.low)} to {text(self.cost.high)})"
            )
        slope = self.slope
        if slope is not None:
            yield (
                f"Slope: {slope.percent_per_day:+.3g} % RMSE a day"
                f" (95 %: {slope.low:+.3g} to {slope.high:+.3g} %;"
                f" Theil-Sen {slope.theil_sen_percent_per_day:+.3g} %)"
            )
        for change in self.changes:
            yield f"Change at {change.at}: RMSE {change.ratio:.3g} times that before"

    def plot(self) -> plotly.Figure:
        """Return RMSE over time in its interval, with the changes."""
        return charts.line(
            "RMSE",
            [point.start for point in self.points],
            [point.rmse for point in self.points],
            low=[point.low for point in self.points],
            high=[point.high for point in self.points],
            changes=[change.at for change in self.changes],
        )

    def _line(self, row: Any, by: Sequence[str], now: float | None) -> list[str]:
        line = dict(zip(self._headings, super()._line(row, by, now), strict=True))
        line |= {"coverage": percent(row.coverage)} if "coverage" in line else {}
        return [*line.values()]


def ask(reading: Reading, asked: Asked) -> TrendAnswer:
    """Show the error step by step: intervals, labels, slope, and where it changed.

    Where the version has an offline baseline (`edgemse fleet baseline set`), the gap to it too;
    with --cost what the errors cost.
    """
    step = asked.options["step"] or _usual_step(reading, asked)
    groups = list(merged(reading, asked, by=(), step_seconds=step, lag_histograms=True))
    over = asked.options["rolling"]
    if over and over < step and (asked.options["step"] or groups):
        raise UsageError(
            f"rolling: {over} s is narrower than a step of {step} s; wanted at least a step"
        )
    if len(groups) > STEPS_MAX:
        raise SettingsError(
            f"step {step} s: {len(groups):,} steps, wanted at most {STEPS_MAX:,}; ask for a wider"
            " step or a shorter time"
        )
    rolling = _rolling(groups, over, step)
    price = cost_of(asked)
    crossing, wide_spans = _beyond(reading, asked, step)
    whole = _whole(groups, wide_spans)
    effect = _neighbours([_mse_level(group.stats) for group in whole])
    costs = _step_costs(price, [group.stats for group in groups])
    slope, changes, cycles = _course(whole, step)
    found, sets = gaps(reading, asked)
    part = part_of(asked)
    base = next(iter(sets.values())).find(part) if len(sets) == 1 else None
    return TrendAnswer(
        asked=asked,
        points=tuple(
            _point(group, step, effect, wide, base, cost)
            for group, wide, cost in zip(groups, rolling, costs, strict=True)
        ),
        slope=slope,
        changes=changes,
        cycles=cycles,
        design_effect=effect,
        gaps=tuple(found),
        cost=_whole_cost(reading, asked, price, groups),
        notes=(*_notes(groups, whole, crossing, step), *gap_notes(found, sets, part)),
    )


def _usual_step(reading: Reading, asked: Asked) -> int:
    from edgemse.fleet.windows import usual_step  # numpy takes 0.1 s

    return usual_step(reading, asked) or DAY_SECONDS


def _rolling(groups: Sequence[Group], over: int | None, step: int) -> list[float]:
    """Return the RMSE over the time that ends with each step."""
    if not over:
        return [math.nan] * len(groups)
    found, first = [], 0
    for place, group in enumerate(groups):
        assert group.start is not None
        while (groups[first].start or 0) < group.start + step - over and first < place:
            first += 1
        found.append(merge_all(each.stats for each in groups[first : place + 1]).rmse)
    return found


def _mse_level(stats: ErrorStats) -> tuple[float, float]:
    """Return log MSE and its standard error; NaN under ten samples or without an error."""
    if stats.count < COUNT_MIN // 2 or not stats.mse > 0:
        return math.nan, math.nan
    return math.log(stats.mse), stats.mse_standard_error / stats.mse


def _neighbours(levels: Sequence[tuple[float, float]]) -> float:
    """Return how many times more neighbouring steps differ than independent samples explain.

    `levels` are logs with their standard errors. The sum of squared differences of neighbours over
    the sum of the variances that they are given; at least 1. Neighbours, because a slope or a
    change must not count as noise. NaN with fewer than ten pairs.
    """
    pairs = list(pairwise(level for level in levels if not math.isnan(level[1])))
    if len(pairs) < 10:
        return math.nan
    expected = math.fsum(a[1] ** 2 + b[1] ** 2 for a, b in pairs)
    seen = math.fsum((a[0] - b[0]) ** 2 for a, b in pairs)
    return max(1.0, seen / expected) if expected > 0 else math.nan


def _step_costs(cost: Cost | None, states: Sequence[ErrorStats]) -> list[Costed]:
    """Return the cost of each step, with how much neighbours differ taken as noise."""
    if cost is None:
        return [costed(None, stats, None) for stats in states]
    levels = [cost_level(cost, stats) for stats in states]
    effect = _neighbours([(level.value, level.error) for level in levels])
    wide = math.sqrt(effect) if effect > 1 else 1.0
    return [
        costed(cost, stats, level.measured(wide * level.error, level.freedom, level.method))
        for stats, level in zip(states, levels, strict=True)
    ]


def _whole_cost(
    reading: Reading, asked: Asked, cost: Cost | None, groups: Sequence[Group]
) -> Costed | None:
    if cost is None:
        return None
    from edgemse.fleet.windows import windows_of

    windows = windows_of(reading, asked, 1, summed=cost.sql())[1]
    return costs_of(cost, {(): merge_all(group.stats for group in groups)}, windows)[()]


def _point(
    group: Group, step: int, effect: float, rolling: float, base: Baseline | None, cost: Costed
) -> Point:
    assert group.start is not None
    stats, coverage = group.stats, group.coverage
    low, high = stats.rmse_interval()
    if low > 0 and effect > 1:
        low, high = (stats.rmse * (x / stats.rmse) ** math.sqrt(effect) for x in (low, high))
    made = coverage.predictions
    gap = gap_at(stats, low, high, base)
    return Point(
        **Figures.values_of({}, stats),
        start=iso_time(group.start),
        width_seconds=step,
        low=low,
        high=high,
        coverage=coverage.matched / made if made else math.nan,
        lag_p95_seconds=coverage.lag_histogram.abs_quantile(0.95),
        rolling_rmse=rolling,
        gap=gap.ratio,
        gap_low=gap.low,
        gap_high=gap.high,
        cost=cost.per_sample,
        cost_low=cost.low,
        cost_high=cost.high,
        cost_total=cost.total,
    )


def _course(
    groups: Sequence[Group], step: int
) -> tuple[Slope | None, tuple[Change, ...], tuple[str, ...]]:
    """Return slope and changes of what the cycles leave."""
    import numpy as np

    from edgemse.fleet import drifting

    usable = [group for group in groups if group.stats.count and group.stats.mse > 0]
    if len(usable) < drifting.SLOPE_MIN:
        return None, (), ()
    seconds = np.array([float(group.start or 0) for group in usable])
    weight = np.array([group.stats.weight for group in usable])
    mse = np.array([group.stats.mse for group in usable])
    log_rmse = np.log(mse) / 2
    repeated, cycles = drifting.cycle(seconds, log_rmse, step)
    level = weight * mse * np.exp(-2 * repeated)
    places = drifting.changes(log_rmse - repeated)
    bounds = [0, *places, len(usable)]
    levels = [math.sqrt(level[a:b].sum() / weight[a:b].sum()) for a, b in pairwise(bounds)]
    found = tuple(
        Change(at=iso_time(usable[place].start or 0), ratio=after / before)
        for place, before, after in zip(places, levels, levels[1:], strict=False)
    )
    line = drifting.line(seconds, level, weight)
    assert line is not None
    a_day = [100 * math.expm1(DAY_SECONDS * each) for each in line]
    slope = Slope(
        percent_per_day=a_day[0],
        low=a_day[1],
        high=a_day[2],
        theil_sen_percent_per_day=a_day[3],
    )
    return slope, found, tuple(cycles)


def _beyond(reading: Reading, asked: Asked, step: int) -> tuple[int, list[tuple[int, int]]]:
    from edgemse.fleet.windows import beyond

    return beyond(reading, asked, step)


def _whole(groups: Sequence[Group], spans: Sequence[tuple[int, int]]) -> list[Group]:
    """Return the steps that neither have nor lack samples of others, as those in the spans do."""
    found, left, end = [], sorted(spans, reverse=True), 0
    for group in groups:
        start = group.start or 0
        while left and left[-1][0] <= start:
            end = max(end, left.pop()[1])
        if start >= end:
            found.append(group)
    return found


def _notes(
    groups: Sequence[Group], whole: Sequence[Group], crossing: int, step: int
) -> Iterator[str]:
    if not groups:
        return
    if crossing:
        reach = "reaches" if crossing == 1 else "reach"
        yield (
            f"{counted(crossing, 'cell')} {reach} beyond the step of {step} s that the window"
            " starts in, and is of that step whole; a step of whole days never cuts one"
        )
    lost = len(groups) - len(whole)
    if lost:
        yield (
            f"{counted(lost, 'step')} left out of slope and changes: cells there are wider than a"
            " step, whose samples are of other steps as well"
        )
    if len(whole) < 30:
        yield f"not enough data: {counted(len(whole), 'step')}, wanted 30 for a slope or a change"
    yield (
        "intervals of single steps take how much neighbouring steps differ as noise; labels that"
        " are still to come may change the last steps"
    )


def _seconds(text: str) -> int:
    seconds = times.duration(text)
    if seconds != int(seconds) or not 10 <= seconds <= 366 * DAY_SECONDS:
        raise SettingsError(f"{text!r}: wanted whole seconds from 10s to 366d, such as 1h")
    return int(seconds)


QUESTION = Question(
    "trend",
    ask,
    TrendAnswer,
    by=None,
    options=(
        Option("step", "Width of a step [that of most windows].", _seconds, metavar="DURATION"),
        Option("rolling", "The RMSE over so long, too.", _seconds, metavar="DURATION"),
        COST,
    ),
)
