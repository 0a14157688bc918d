"""How wrong each group is, how much of what differs is real, and which groups stand out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, Table, percent, text
from edgemse.fleet.asked import Asked
from edgemse.fleet.components import Anova, anova, components_of
from edgemse.fleet.explaining import OPTION, Explained, explained
from edgemse.fleet.figures import Figures
from edgemse.fleet.intervals import rmse_intervals
from edgemse.fleet.kept import Kept, kept_of
from edgemse.fleet.merging import merged
from edgemse.fleet.questions import Question
from edgemse.fleet.welch import Welch, welch
from edgemse.fleet.within import OPTION as WITHIN
from edgemse.fleet.within import Within, checked, within
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

    from edgemse.fleet.noise import Noise
    from edgemse.fleet.windows import Windows

__all__ = [
    "QUESTION",
    "Between",
    "Differences",
    "VarianceAnswer",
    "VarianceGroup",
    "ask",
    "of_states",
]

ONE_WAY = "ANOVA's component between groups"
FLAG_COUNT_MIN = 20
"""Samples of a group below which it is never flagged: no interval holds there (numerics.md)."""


@dataclass(frozen=True, kw_only=True)
class VarianceGroup(Figures):
    """The figures of one group, and how it stands in the fleet."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "count": "samples",
        "rmse": "RMSE",
        "low": "low",
        "high": "high",
        "ratio": "ratio",
        "materially_worse": "worse",
        "unusual": "unusual",
        "bias": "bias",
        "mae": "MAE",
        "r2": "R²",
        "abs_p50": "|e| p50",
        "abs_p95": "|e| p95",
        "nonfinite": "not finite",
    }

    low: float
    """95 % interval of the RMSE, by windows where there are ten; NaN under 20 samples."""
    high: float
    ratio: float
    """RMSE to the median of the groups' RMSE."""
    unusual: bool | None
    """Worse than the spread of the other groups explains; None: not enough data."""
    materially_worse: bool | None
    """More than 1.2 times the median, for sure; None: not enough data."""


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How the MSE varies between groups, and whether the mean error does."""

    devices: int
    """Groups with at least two samples."""
    mean_mse: float
    variance_of_mse: float
    sampling_variance: float
    """What chance alone makes of it: the mean squared standard error times the design effect."""
    tau2: float
    """What is left for real differences, clamped at 0."""
    i2: float
    """tau2 / variance_of_mse: the reliability of the ranking at this number of samples."""
    f: float
    """The test that all groups have one MSE (edgemse.fleet.homogeneity)."""
    df1: float
    df2: float
    p_value: float
    tau2_unclamped: float
    anova: Anova
    """Analysis of variance of the errors, one-way or with factors removed; assumes independent
    samples."""
    bias: Welch
    """Whether mean errors differ, by windows: what to decide by."""


@dataclass(frozen=True, kw_only=True)
class Between:
    """How much groups differ: one standard deviation between them, in percent of RMSE."""

    spread_percent: float
    """100 (exp(sqrt(tau2_log) / 2) - 1)."""
    low: float
    """Its 95 % interval."""
    high: float
    method: str
    """ "q-profile", "kurtosis" (from 30 groups), or "" where there is not enough data."""
    tau2_log: float
    """Variance of log MSE between groups (edgemse.fleet.spread), clamped at 0."""
    tau2_log_unclamped: float
    design_effect: float
    """How many times larger an MSE's variance is than of independent samples; NaN: not known."""


@dataclass(frozen=True, kw_only=True)
class VarianceAnswer(Answer):
    """The figures of each group and of all, and how the groups differ."""

    ROWS: ClassVar[str] = "groups"
    HEADINGS: ClassVar[Mapping[str, str]] = VarianceGroup.HEADINGS

    groups: tuple[VarianceGroup, ...]
    total: Figures
    variance: Differences
    between: Between
    explained: tuple[Explained, ...] = ()
    """What each attribute of `explain` explains; empty unless asked."""
    within: Within | None = None
    """How groups differ beside the factors asked for; None unless asked."""

    def table(self, now: float | None = None) -> Table:
        """Return a line for each group and one for all."""
        words = max(1, len(self.asked.by))
        total = ["total", *[""] * (words - 1)] if self.asked.by else []
        own = {name: text(getattr(self.total, name)) for name in Figures.HEADINGS}
        cells = [own.get(name, "") for name in self._headings]
        return super().table(now)._replace(below=[[*total, *cells]])

    def sentences(self) -> Iterator[str]:
        """Yield how the groups differ."""
        found, what = self.variance, " and ".join(self.asked.by) or "group"
        if found.devices < 2:
            return
        between = self.between
        if between.method:
            yield (
                f"Groups by {what} differ by about ±{text(round(between.spread_percent, 2))} % RMSE"
                f" (95 %: {between.low:.2f} to {between.high:.2f} %; {between.method})"
            )
        yield (
            f"MSE: {found.devices} groups, mean {text(found.mean_mse)}, variance"
            f" {text(found.variance_of_mse)}, of which sampling {text(found.sampling_variance)}"
            f" (design effect {text(between.design_effect)}) and real differences"
            f" {text(found.tau2)}; reliability of the ranking {percent(found.i2)}"
        )
        yield (
            f"Are there differences at all? F({text(found.df1)}, {text(found.df2)}) ="
            f" {text(found.f)}, p = {text(found.p_value)}"
        )
        bias = found.bias
        yield (
            f"Does the mean error differ? Welch F({text(bias.df1)}, {text(bias.df2)}) ="
            f" {text(bias.f)}, p = {text(bias.p_value)} (from {bias.method}); variance between"
            f" {text(found.anova.var_between)}, within {text(found.anova.var_within)}"
        )
        yield from self.within.sentences() if self.within else ()
        for each in self.explained:
            yield (
                f"{each.name} explains {percent(each.share)} of how groups differ (95 %:"
                f" {percent(each.low)} to {percent(each.high)}; p = {text(each.p_value)};"
                f" {each.values} values, {each.groups} groups)"
            )

    def plot(self) -> plotly.Figure:
        """Return the groups' RMSE with their intervals; materially worse ones are red."""
        return charts.dots(
            "RMSE by group",
            [", ".join(group.by.values()) for group in self.groups],
            [group.rmse for group in self.groups],
            low=[group.low for group in self.groups],
            high=[group.high for group in self.groups],
            marked=[bool(group.materially_worse) for group in self.groups],
        )


def ask(reading: Reading, asked: Asked) -> VarianceAnswer:
    """Compare the errors of groups (devices, unless told otherwise) and split their variance.

    Groups by device, model, version, output, segment, hour_of_day, weekday, or an attribute that
    the devices report. What is noise is seen from window to window. With --explain, how much of the
    differences each attribute explains. With --within, whether they differ once other factors are
    taken out (crossed), or beside what lies inside of them (nested).
    """
    from edgemse.fleet.noise import noise_of  # numpy and scipy take 0.2 s
    from edgemse.fleet.windows import windows_of

    factors = checked(asked)
    groups = merged(reading, asked).stats()
    windows = windows_of(reading, asked, len(groups))[1]
    kept = kept_of(reading, asked)
    found = of_states(asked, groups, windows, kept)
    if factors:
        found = _with_factors(reading, found, factors)
    if asked.options["explain"] is None:
        return found
    return _with_reasons(reading, found, noise_of(groups, windows, kept))


def _with_factors(
    reading: Reading, found: VarianceAnswer, factors: tuple[str, ...]
) -> VarianceAnswer:
    beside, table, notes = within(reading, found.asked, factors)
    notes = (*(note for note in found.notes if not note.startswith(ONE_WAY)), *notes)
    return replace(found, within=beside, variance=replace(found.variance, anova=table), notes=notes)


def _with_reasons(
    reading: Reading,
    found: VarianceAnswer,
    noise: Noise,
) -> VarianceAnswer:
    from edgemse.fleet.homogeneity import testable

    reasons = tuple(explained(reading, found.asked, noise.taken(testable(noise))))
    notes = [
        f"not enough data: {each.name} has {each.values} values that two groups or more have, in"
        f" {each.groups} groups"
        for each in reasons
        if math.isnan(each.share)
    ]
    notes += [
        f"{each.mixed} groups have had several values of {each.name}; they count for the one that"
        " most of their samples have"
        for each in reasons
        if each.mixed
    ]
    return replace(found, explained=reasons, notes=(*found.notes, *notes))


def of_states(
    asked: Asked,
    groups: Mapping[tuple[str, ...], ErrorStats],
    windows: Mapping[tuple[str, ...], Windows] | None = None,
    kept: Kept | None = None,
) -> VarianceAnswer:
    """Answer from states whose keys are values of `asked.by`; without windows all by themselves."""
    from edgemse.fleet.homogeneity import testable
    from edgemse.fleet.noise import noise_of

    noise = noise_of(groups, windows, kept)
    enough = testable(noise)
    between = _between(noise.taken(enough))
    differences = Differences(
        **components_of(noise)._asdict(), anova=anova(groups), bias=welch(groups, windows)
    )
    standing, intervals = _standing(noise), rmse_intervals(noise, groups)
    total = merge_all(groups.values())
    none: dict[str, Any] = {"low": math.nan, "high": math.nan, "ratio": math.nan}
    none |= {"unusual": None, "materially_worse": None}
    return VarianceAnswer(
        asked=asked,
        groups=tuple(
            VarianceGroup(
                **Figures.values_of(dict(zip(asked.by, key, strict=True)), stats),
                **none | standing.get(key, {}) | intervals[key],
            )
            for key, stats in groups.items()
        ),
        total=Figures.of({}, total),
        variance=differences,
        between=between,
        notes=(
            *_refused(total.out_of_range),
            *_notes(noise, int(enough.sum()), differences, between),
        ),
    )


def _between(noise: Noise) -> Between:
    from edgemse.fleet.spread import spread

    found = spread(noise)
    return Between(
        spread_percent=_percent(found.tau2),
        low=_percent(found.low),
        high=_percent(found.high),
        method=found.method,
        tau2_log=found.tau2,
        tau2_log_unclamped=found.unclamped,
        design_effect=noise.design_effect,
    )


def _percent(tau2: float) -> float:
    return 100 * math.expm1(math.sqrt(tau2) / 2) if not math.isnan(tau2) else tau2


def _standing(noise: Noise) -> dict[Any, dict[str, Any]]:
    """Return ratio and flags of the groups that have enough for them."""
    from edgemse.fleet.outlying import outlying

    enough = (noise.count >= FLAG_COUNT_MIN) & (noise.mse > 0) & (noise.variance > 0)
    if enough.sum() < 2 or noise.too_close:
        return {}
    chosen = noise.taken(enough)
    found = outlying(chosen)
    return {
        key: {
            "ratio": float(found.ratio[place]),
            "unusual": None if found.unusual is None else bool(found.unusual[place]),
            "materially_worse": bool(found.worse[place]),
        }
        for place, key in enumerate(chosen.keys)
    }


def _refused(out_of_range: int) -> Iterator[str]:
    if out_of_range:
        yield (
            f"samples left out because a value or weight of theirs is beyond what is measured"
            f" (out of range, docs/numerics.md): {out_of_range:,}"
        )


def _notes(noise: Noise, tested: int, found: Differences, between: Between) -> Iterator[str]:
    from edgemse.fleet.noise import assumptions

    if len(noise.keys) < 2:
        return
    yield from assumptions(noise)
    left_out = len(noise.keys) - tested
    if left_out and not noise.too_close:
        some = f"{left_out} of {len(noise.keys)} groups have too few samples to be tested"
        yield f"not enough data: {some}" if tested < 2 else f"{some} and are left out"
    if not (noise.mse > 0).all():
        yield "a group is without any error: its log MSE is none, and groups cannot be tested"
    if between.method == "q-profile":
        yield (
            "the interval of what groups differ by assumes that log MSE scatters normally between"
            " groups; fewer than 30 groups cannot show it, and one bad group among ten widens the"
            " truth beyond it"
        )
    bias = found.bias
    if math.isnan(bias.p_value) and bias.method != "states" and not noise.too_close:
        yield (
            "not enough data: the mean errors of windows follow each other so closely, or do not"
            " vary, that it is not said whether the mean errors of groups differ"
        )
    if found.tau2_unclamped < 0:
        yield f"tau2 comes out below 0 ({found.tau2_unclamped:.6g}) and is reported as 0"
    if found.anova.var_between_unclamped < 0:
        below = found.anova.var_between_unclamped
        yield f"{ONE_WAY} comes out below 0 ({below:.6g}), reported as 0"


QUESTION = Question("variance", ask, VarianceAnswer, options=(OPTION, WITHIN))
