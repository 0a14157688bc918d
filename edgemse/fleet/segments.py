"""Where is it wrong? Groups ranked by their share of the squared error, small ones steadied."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, Table, percent, text
from edgemse.fleet.asked import Asked
from edgemse.fleet.costs import OPTION, Cost, Costed, cost_of, costs_of
from edgemse.fleet.figures import Figures
from edgemse.fleet.intervals import rmse_intervals
from edgemse.fleet.kept import kept_of
from edgemse.fleet.merging import Group, merged
from edgemse.fleet.questions import Question
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

    from edgemse.fleet.noise import Noise

__all__ = ["QUESTION", "Segment", "SegmentsAnswer", "ask"]


@dataclass(frozen=True, kw_only=True)
class Segment(Figures):
    """The figures of one group, its share of the error, and what its RMSE probably is."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "count": "samples",
        "share": "of sq. error",
        "rmse": "RMSE",
        "shrunk_rmse": "steadied",
        "low": "low",
        "high": "high",
        "worse": "worse",
        "cost": "cost",
        "cost_low": "low",
        "cost_high": "high",
        "cost_total": "total cost",
        "cost_share": "of cost",
        "bias": "bias",
        "mae": "MAE",
        "abs_p95": "|e| p95",
    }

    share: float
    """Its share of the squared error of all groups: what repairing it could gain at most."""
    shrunk_rmse: float
    """RMSE drawn towards the fleet by as much as it is noise (edgemse.fleet.shrinkage)."""
    low: float
    """95 % interval of the RMSE, steadied where `shrunk_rmse` is."""
    high: float
    worse: bool | None
    """Over 1.1 times the fleet's RMSE with a probability over 0.95; None: not enough data."""
    cost: float
    """Mean cost of a sample; NaN unless asked for, like what follows."""
    cost_low: float
    """95 % interval of the mean."""
    cost_high: float
    cost_total: float
    """Of all its samples."""
    cost_share: float
    """Its share of the cost of all groups."""


@dataclass(frozen=True, kw_only=True)
class SegmentsAnswer(Answer):
    """The groups, the largest share of the squared error first."""

    ROWS: ClassVar[str] = "groups"
    HEADINGS: ClassVar[Mapping[str, str]] = Segment.HEADINGS
    IF_KNOWN: ClassVar[frozenset[str]] = frozenset(
        {"cost", "cost_low", "cost_high", "cost_total", "cost_share"}
    )

    groups: tuple[Segment, ...]
    total: Figures
    design_effect: float
    """How many times larger an MSE's variance is than of independent samples; NaN: not known."""
    cost: Costed | None = None
    """Of all groups; None unless asked for."""

    def table(self, now: float | None = None) -> Table:
        """Return a line for each group and one for all."""
        words = max(1, len(self.asked.by))
        own = {name: text(getattr(self.total, name)) for name in Figures.HEADINGS}
        own |= {"share": percent(1.0 if self.total.count else math.nan)}
        if self.cost is not None:
            own |= {"cost": text(self.cost.per_sample), "cost_total": text(self.cost.total)}
            own |= {"cost_low": text(self.cost.low), "cost_high": text(self.cost.high)}
        cells = [own.get(name, "") for name in self._headings]
        total = ["total", *[""] * (words - 1)] if self.asked.by else []
        return super().table(now)._replace(below=[[*total, *cells]])

    def plot(self) -> plotly.Figure:
        """Return the groups' steadied RMSE with its interval; worse ones are red."""
        return charts.dots(
            "RMSE by group, the largest share of the squared error first",
            [", ".join(group.by.values()) for group in self.groups],
            [group.shrunk_rmse for group in self.groups],
            low=[group.low for group in self.groups],
            high=[group.high for group in self.groups],
            marked=[bool(group.worse) for group in self.groups],
        )

    def _line(self, row: Any, by: Sequence[str], now: float | None) -> list[str]:
        line = dict(zip([*by, *self._headings], super()._line(row, by, now), strict=True))
        line["share"] = percent(row.share)
        if "cost_share" in line:
            line["cost_share"] = percent(row.cost_share)
        return [*line.values()]


def ask(reading: Reading, asked: Asked) -> SegmentsAnswer:
    """Rank segments (or any other groups) by their share of the squared error.

    Groups by segment unless told otherwise: by site, hardware, hour_of_day, output, several at
    once. The RMSE of small groups is drawn towards the fleet's, so that the worst is not merely the
    smallest. With --cost also by what the errors cost.
    """
    from edgemse.fleet.noise import noise_of  # numpy and scipy take 0.2 s
    from edgemse.fleet.windows import windows_of

    found = merged(reading, asked)
    states = found.stats()
    windows = windows_of(reading, asked, len(found))[1]
    noise = noise_of(states, windows, kept_of(reading, asked))
    total = math.fsum(_squares(stats) for stats in states.values())
    steadied, intervals = _steadied(noise), rmse_intervals(noise, states)
    price = cost_of(asked)
    costs = _costs(reading, asked, price, states)
    whole = _costs(reading, replace(asked, by=()), price, {(): found.total()}).get(())
    groups = []
    for each in found:
        key = tuple(each.by.values())
        share = _squares(each.stats) / total if total else math.nan
        own = {**intervals[key], "worse": None, **steadied.get(key, {})}
        own |= _priced(costs.get(key), whole)
        groups.append(_segment(each, share, own))
    return SegmentsAnswer(
        asked=asked,
        groups=tuple(sorted(groups, key=_order)),
        total=Figures.of({}, found.total()),
        design_effect=noise.design_effect,
        cost=whole,
        notes=tuple(_notes(noise, len(steadied))),
    )


def _squares(stats: ErrorStats) -> float:
    """Return the weighted sum of squared errors."""
    return stats.mse * stats.weight if stats.count else 0.0


def _order(segment: Segment) -> tuple[float, tuple[str, ...]]:
    return (0.0 if math.isnan(segment.share) else -segment.share, tuple(segment.by.values()))


def _segment(group: Group, share: float, own: Mapping[str, Any]) -> Segment:
    own = {"shrunk_rmse": group.stats.rmse, **own}
    return Segment(**Figures.values_of(group.by, group.stats), share=share, **own)


def _costs(
    reading: Reading, asked: Asked, cost: Cost | None, states: Mapping[Any, ErrorStats]
) -> dict[Any, Costed]:
    if cost is None:
        return {}
    from edgemse.fleet.windows import windows_of

    windows = windows_of(reading, asked, len(states), summed=cost.sql())[1]
    return costs_of(cost, states, windows)


def _priced(own: Costed | None, whole: Costed | None) -> dict[str, float]:
    """Return the fields of a segment that are of its cost."""
    if own is None or whole is None:
        return dict.fromkeys(
            ("cost", "cost_low", "cost_high", "cost_total", "cost_share"), math.nan
        )
    return {
        "cost": own.per_sample,
        "cost_low": own.low,
        "cost_high": own.high,
        "cost_total": own.total,
        "cost_share": own.total / whole.total if whole.total else math.nan,
    }


def _steadied(noise: Noise) -> dict[Any, dict[str, Any]]:
    """Return the steadied figures of the groups that have enough samples, if enough have."""
    from edgemse.fleet.homogeneity import COUNT_MIN
    from edgemse.fleet.shrinkage import GROUPS_MIN, shrunk

    enough = (noise.count >= COUNT_MIN) & (noise.mse > 0) & (noise.variance > 0)
    if enough.sum() < GROUPS_MIN or noise.too_close:
        return {}
    chosen = noise.taken(enough)
    found = shrunk(chosen)
    return {
        key: {
            "shrunk_rmse": float(found.rmse[place]),
            "low": float(found.low[place]),
            "high": float(found.high[place]),
            "worse": bool(found.worse[place]),
        }
        for place, key in enumerate(chosen.keys)
    }


def _notes(noise: Noise, steadied: int) -> Iterator[str]:
    from edgemse.fleet.noise import assumptions

    if not noise.keys:
        return
    yield from assumptions(noise)
    if not steadied and not noise.too_close:
        yield "fewer than four groups have ten samples: nothing is steadied, and none called worse"
    elif steadied and steadied < len(noise.keys):
        few = len(noise.keys) - steadied
        yield f"{few} of {len(noise.keys)} groups have too few samples to be steadied"


QUESTION = Question("segments", ask, SegmentsAnswer, by=("segment",), options=(OPTION,))
