"""What do the errors cost, where too high and too low do not cost the same?

A sample's cost is `over` times its error where the prediction is too high, `under` times its error
where it is too low, in whatever unit the two are in. The sum follows exactly from the state: with
W = sum w, A = sum w |e| and M = sum w e,

    sum of w max(e, 0) = (A + M) / 2        sum of w max(-e, 0) = (A - M) / 2

so that a cost needs no raw sample, and no device has to know it beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from edgemse.errors import SettingsError
from edgemse.fleet.asked import Asked, Option
from edgemse.stats.error_stats import ErrorStats

if TYPE_CHECKING:
    from edgemse.fleet.arms import Estimate
    from edgemse.fleet.windows import Windows

__all__ = [
    "OPTION",
    "Cost",
    "Costed",
    "cost_level",
    "cost_of",
    "costed",
    "costs_of",
    "square_share",
]

RANGE = (1e-100, 1e100)
"""Of a cost that is not 0: its square, times that of an error, is a float."""
GROWTH = 2.0**0.25
"""Squares at a bucket's upper bound to those at its lower one (OpenTelemetry's scale 3)."""
NAN = math.nan


@dataclass(frozen=True, kw_only=True)
class Costed:
    """The cost of some samples, in the unit of what was asked."""

    per_sample: float
    """Mean cost of a sample (of a weight of 1); NaN of nothing."""
    low: float
    """95 % interval of the mean; NaN: not enough data."""
    high: float
    total: float
    """Of all samples: the mean times their weight."""


class Cost(NamedTuple):
    """What a unit of error costs where the prediction is too high, and too low."""

    over: float
    under: float

    def per_sample(self, stats: ErrorStats) -> float:
        """Return the mean cost of a sample; NaN of nothing.

        Rounding may leave a sum of one sign a hair below nothing (1e-16 of the other): it is 0.
        """
        if not stats.count:
            return NAN
        over = max(0.0, (stats.mae + stats.bias) / 2)
        under = max(0.0, (stats.mae - stats.bias) / 2)
        return self.over * over + self.under * under

    def standard_error(self, stats: ErrorStats) -> float:
        """Return the standard error of the mean cost, for independent samples.

        With s the share of the squared error that is of positive errors (square_share),
        var = over^2 s mse + under^2 (1 - s) mse - mean^2, over n - 1. NaN without a histogram.
        """
        n = stats.effective_count
        if n < 2:
            return NAN
        share = square_share(stats)
        if math.isnan(share):  # which max() below would take for nothing
            return NAN
        squares = stats.mse * (self.over**2 * share + self.under**2 * (1 - share))
        return math.sqrt(max(0.0, squares - self.per_sample(stats) ** 2) / (n - 1))

    def sql(self) -> str:
        """Return the SQL of the cost of one cell; floats in full, as no parameter of a cell's."""
        both, skew = (self.over + self.under) / 2, (self.over - self.under) / 2
        return f"{both:.17e} * abs_sum + {skew:.17e} * weight * (mean + mean_lo)"


def square_share(stats: ErrorStats) -> float:
    """Return which share of the squared error is of positive errors; NaN if it is not known.

    From the histogram, with density uniform inside a bucket; all of a sign is exact.
    """
    histogram = stats.histogram
    if histogram is None:
        return NAN
    sums = []
    for offset, counts in (histogram.positive(), histogram.negative()):
        # Far buckets relative to the largest, so that no power is beyond floats.
        sums.append([(offset + place, count) for place, count in enumerate(counts) if count])
    top = max((place for each in sums for place, _ in each), default=0)
    over, under = (
        math.fsum(count * GROWTH ** max(place - top, -4_000) for place, count in each)
        for each in sums
    )
    return over / (over + under) if over + under else NAN


def cost_of(asked: Asked) -> Cost | None:
    """Return the cost that is asked for; SettingsError if it is asked of something else."""
    text = asked.options.get("cost")
    if text is None:
        return None
    if asked.where.get("measure"):
        raise SettingsError("cost: is of the error; wanted no measure beside it")
    return _parse(text)


def costed(cost: Cost | None, stats: ErrorStats, estimate: Estimate | None) -> Costed:
    """Return mean, interval and total of some samples, by the level of their cost."""
    if cost is None:
        return Costed(per_sample=NAN, low=NAN, high=NAN, total=NAN)
    mean = cost.per_sample(stats)
    low, high = estimate.interval() if estimate is not None else (NAN, NAN)
    total = mean * stats.weight if stats.count else 0.0
    return Costed(per_sample=mean, low=low, high=high, total=total)


def costs_of(
    cost: Cost, states: Mapping[Any, ErrorStats], windows: Mapping[Any, Windows]
) -> dict[Any, Costed]:
    """Return the cost of each group; `windows` are of the cost (windows_of with Cost.sql).

    On the log scale, Student's t: the wider of the interval by windows, which holds for errors that
    follow each other (equal-weighted cosines), and that of independent samples. A group with fewer
    than ten windows gets the latter, times how much larger the former's variances are in the groups
    that have them (at least 1); one whose windows follow each other too closely has none.
    """
    from edgemse.fleet.levels import relative, wider
    from edgemse.fleet.noise import WINDOWS_MIN

    single = {key: cost_level(cost, stats) for key, stats in states.items()}
    waves = {}
    for key, one in single.items():
        found = relative(windows.get(key)) if one.method else None
        if found is not None:
            waves[key] = one.measured(math.sqrt(found.variance), found.freedom, "windows")
    below = math.fsum(single[key].error ** 2 for key in waves)
    effect = math.fsum(each.error**2 for each in waves.values()) / below if below else 1.0
    effect = max(1.0, effect)
    result = {}
    for key, one in single.items():
        if key in waves:
            level: Estimate | None = wider(one, waves[key])
        elif key in windows and len(windows[key].mse) >= WINDOWS_MIN:
            level = None
        else:
            freedom = max(1.0, one.freedom / effect)
            level = one.measured(one.error * math.sqrt(effect), freedom, one.method)
        result[key] = costed(cost, states[key], level)
    return result


def cost_level(cost: Cost, stats: ErrorStats) -> Estimate:
    """Return the log of the mean cost of independent samples; not known under 20 of them.

    Degrees of freedom are those of squared errors (noise.freedom): a cost has lighter tails.
    """
    from edgemse.fleet.arms import COUNT_MIN, Estimate
    from edgemse.fleet.noise import freedom

    mean = cost.per_sample(stats)
    error = cost.standard_error(stats)
    if stats.count < COUNT_MIN or not mean > 0 or math.isnan(error):
        return Estimate(math.log(mean) if mean > 0 else NAN, NAN, NAN, 0, "")
    return Estimate(math.log(mean), error / mean, freedom(stats), 0, "state")


def _parse(text: str) -> Cost:
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    try:
        if text.count(",") != 1:
            raise ValueError
        found = Cost(float(parts["over"]), float(parts["under"]))
    except (KeyError, ValueError):
        found = Cost(NAN, NAN)
    if not (all(x == 0 or RANGE[0] <= x <= RANGE[1] for x in found) and any(found)):
        raise SettingsError(
            f"cost {text!r:.60}: wanted two numbers of which one is above 0, such as over=1,under=4"
        )
    return found


def _checked(text: str) -> str:
    found = _parse(text)
    return f"over={found.over!r},under={found.under!r}"


OPTION = Option(
    "cost",
    "What a unit of error costs, too high and too low: over=1,under=4.",
    _checked,
    metavar="over=A,under=B",
)
