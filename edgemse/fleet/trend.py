"""How wrong is it lately, and is it getting worse? The error step by step."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse import times
from edgemse.errors import SettingsError
from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, percent
from edgemse.fleet.asked import Asked, Option, iso_time
from edgemse.fleet.figures import Figures
from edgemse.fleet.merging import Group, merged
from edgemse.fleet.questions import Question
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

    points: tuple[Point, ...]
    slope: Slope | None
    """None: fewer than 30 steps."""
    changes: tuple[Change, ...]
    cycles: tuple[str, ...]
    """What was taken out before looking for slope and changes: "daily", "weekly"."""
    design_effect: float
    """How many times more neighbouring steps differ than independent samples would make them."""

    def sentences(self) -> Iterator[str]:
        """Yield slope and changes."""
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
        line = dict(zip(self.HEADINGS, super()._line(row, by, now), strict=True))
        return [*(line | {"coverage": percent(row.coverage)}).values()]


def ask(reading: Reading, asked: Asked) -> TrendAnswer:
    """Show the error step by step: intervals, labels, slope, and where it changed."""
    step = asked.options["step"] or _usual_step(reading, asked)
    groups = list(merged(reading, asked, by=(), step_seconds=step, lag_histograms=True))
    if len(groups) > STEPS_MAX:
        raise SettingsError(
            f"step {step} s: {len(groups):,} steps, wanted at most {STEPS_MAX:,}; ask for a wider"
            " step or a shorter time"
        )
    rolling = _rolling(groups, asked.options["rolling"], step)
    effect = _neighbours([group.stats for group in groups])
    slope, changes, cycles = _course(groups, step)
    return TrendAnswer(
        asked=asked,
        points=tuple(
            _point(group, step, effect, wide) for group, wide in zip(groups, rolling, strict=True)
        ),
        slope=slope,
        changes=changes,
        cycles=cycles,
        design_effect=effect,
        notes=tuple(_notes(reading, asked, groups, step)),
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


def _neighbours(states: Sequence[ErrorStats]) -> float:
    """Return how many times more neighbouring steps differ than independent samples explain.

    The sum of squared differences of log MSE over the sum of the variances that the states give
    these; at least 1. Neighbours, because a slope or a change must not count as noise. NaN with
    fewer than ten pairs.
    """
    usable = [s for s in states if s.count >= COUNT_MIN // 2 and s.mse > 0]
    pairs = list(pairwise(usable))
    if len(pairs) < 10:
        return math.nan
    expected = math.fsum(
        (a.mse_standard_error / a.mse) ** 2 + (b.mse_standard_error / b.mse) ** 2 for a, b in pairs
    )
    seen = math.fsum(math.log(a.mse / b.mse) ** 2 for a, b in pairs)
    return max(1.0, seen / expected) if expected > 0 else math.nan


def _point(group: Group, step: int, effect: float, rolling: float) -> Point:
    assert group.start is not None
    stats, coverage = group.stats, group.coverage
    low, high = stats.rmse_interval()
    if low > 0 and effect > 1:
        low, high = (stats.rmse * (x / stats.rmse) ** math.sqrt(effect) for x in (low, high))
    made = coverage.predictions
    return Point(
        **Figures.values_of({}, stats),
        start=iso_time(group.start),
        width_seconds=step,
        low=low,
        high=high,
        coverage=coverage.matched / made if made else math.nan,
        lag_p95_seconds=coverage.lag_histogram.abs_quantile(0.95),
        rolling_rmse=rolling,
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


def _notes(reading: Reading, asked: Asked, groups: Sequence[Group], step: int) -> Iterator[str]:
    from edgemse.fleet.windows import wider

    if not groups:
        return
    cells = wider(reading, asked, step)
    if cells:
        yield f"{cells:,} cells are wider than a step of {step} s; each stands at its start"
    if len(groups) < 30:
        yield f"not enough data: {len(groups)} steps, wanted 30 for a slope or a change"
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
    ),
)
