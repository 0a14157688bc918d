"""Is one version better than another: in all, in each segment, and in the tail?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse.errors import SettingsError
from edgemse.fleet import charts, looks
from edgemse.fleet.answers import Answer, Table, text
from edgemse.fleet.asked import Asked, Option
from edgemse.fleet.costs import OPTION as COST
from edgemse.fleet.costs import cost_of
from edgemse.fleet.figures import Figures
from edgemse.fleet.labelled import LabelsCompared, labels_compared, notes_of
from edgemse.fleet.looks import ONE_LOOK, Look, Rules, rules
from edgemse.fleet.merging import merged
from edgemse.fleet.mixture import Mix, mix_of
from edgemse.fleet.pricing import CostCompared, cost_notes, costs_compared, segment_cost
from edgemse.fleet.questions import Question
from edgemse.fleet.refusing import refused_notes
from edgemse.fleet.tails import FAR, Tail, tails
from edgemse.names import counted
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

    from edgemse.fleet.arms import Arm, Estimate

__all__ = [
    "OPTIONS",
    "QUESTION",
    "CompareAnswer",
    "Compared",
    "Needed",
    "Pooled",
    "Segment",
    "ask",
    "estimates",
    "versions_of",
]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One segment: b to a, and whether b is worse there."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "ratio": "RMSE b to a",
        "low": "low",
        "high": "high",
        "worse": "worse",
        "cost_ratio": "cost b to a",
        "cost_low": "low",
        "cost_high": "high",
        "p_adjusted": "p adjusted",
        "p_value": "p",
        "count_a": "samples a",
        "count_b": "samples b",
    }

    by: Mapping[str, str]
    count_a: int
    count_b: int
    ratio: float
    """RMSE of b to that of a, each device counting the same."""
    low: float
    """95 % interval."""
    high: float
    p_value: float
    """One-sided, of the hypothesis that b is not worse."""
    p_adjusted: float
    """The same for all segments at once (Holm)."""
    worse: bool | None
    """p_adjusted under 5 %, or what the look allows; None: not enough data."""
    cost_ratio: float = math.nan
    """Cost of a sample of b to one of a; NaN unless asked for."""
    cost_low: float = math.nan
    """95 % interval."""
    cost_high: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The ratio over all samples: a device counts by its samples, and so does a shift of them."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Needed:
    """How many devices that run both versions would show a ratio with 80 % power at 5 %."""

    ratio: float
    devices: int | None
    """None: not known from these cells."""


@dataclass(frozen=True, kw_only=True)
class CompareAnswer(Answer):
    """Version b against version a. Ratios are RMSE to RMSE: below 1, b is better."""

    ROWS: ClassVar[str] = "segments"
    HEADINGS: ClassVar[Mapping[str, str]] = Segment.HEADINGS
    IF_KNOWN: ClassVar[frozenset[str]] = frozenset({"cost_ratio", "cost_low", "cost_high"})

    a: Figures
    b: Figures
    ratio: float
    """Geometric mean over devices of RMSE b to RMSE a: each device counts the same."""
    low: float
    """95 % interval; Student's t over devices, or by windows where there are too few of them."""
    high: float
    p_value: float
    """Two-sided, of the hypothesis that there is no difference."""
    delta_rmse: float
    """Mean over devices of RMSE b less RMSE a, in the unit of the label."""
    method: str
    """ "paired", "unpaired", "windows" (these devices only), "" where there is not enough data."""
    devices: int
    pooled: Pooled
    segments: tuple[Segment, ...]
    tails: tuple[Tail, ...]
    tail_heavier: bool | None
    """b's 95 % or 99 % quantile is up by more than its RMSE is; None: not enough data."""
    mix: Mix
    needed: Needed
    looks: Look | None = None
    """What may be claimed if this is one look of several; None: it is the only one."""
    cost: CostCompared | None = None
    """What the errors of both cost; None unless asked for."""
    labels: LabelsCompared
    """For how many predictions of each version the label came."""

    def table(self, now: float | None = None) -> Table:
        """Return a line for each segment and one for all."""
        words = max(1, len(self.asked.by))
        total = ["all", *[""] * (words - 1)] if self.asked.by else []
        own = {name: text(getattr(self, name)) for name in ("ratio", "low", "high", "p_value")}
        own |= {"count_a": text(self.a.count), "count_b": text(self.b.count)}
        if self.cost is not None:
            own |= {"cost_ratio": text(self.cost.ratio)}
            own |= {"cost_low": text(self.cost.low), "cost_high": text(self.cost.high)}
        below = [*total, *(own.get(name, "") for name in self._headings)]
        return super().table(now)._replace(below=[below])

    def _is_known(self, _name: str) -> bool:
        return self.cost is not None  # the line of all has it, if no segment does

    def records(self) -> list[dict[str, Any]]:
        """Return a row for each segment, or, not asked by any, one of the whole."""
        if self.asked.by:
            return super().records()
        whole = {name: getattr(self, name) for name in ("ratio", "low", "high", "p_value")}
        of_cost = ("ratio", "low", "high")
        return [
            {"count_a": self.a.count, "count_b": self.b.count, **whole}
            | {"p_adjusted": math.nan, "worse": None}
            | {f"cost_{name}": getattr(self.cost, name, math.nan) for name in of_cost}
        ]

    def sentences(self) -> Iterator[str]:
        """Yield what was found, in words."""
        a, b = self.asked.options["a"], self.asked.options["b"]
        if self.method:
            how = "by windows, these devices only" if self.method == "windows" else self.method
            yield (
                f"RMSE of {b} to {a}: {text(self.ratio)} (95 %: {text(self.low)} to"
                f" {text(self.high)}; p = {text(self.p_value)};"
                f" {counted(self.devices, 'device')}, {how}); over all samples"
                f" {text(self.pooled.ratio)} ({text(self.pooled.low)} to {text(self.pooled.high)})"
            )
        for segment in self.segments:
            if segment.worse:
                yield f"worse in {', '.join(segment.by.values())}: {text(segment.ratio)}"
        yield from self.looks.sentences() if self.looks else ()
        up = [f"{100 * t.q:g} %: {text(t.ratio)}" for t in self.tails if t.worse]
        if up:
            yield f"worse at these quantiles of the absolute error: {', '.join(up)}"
        if self.tail_heavier:
            far = ", ".join(f"{100 * t.q:g} %: {text(t.relative)}" for t in self.tails if t.heavier)
            yield f"the tail is heavier than the RMSE says ({far})"
        yield from self.mix.sentences(self.pooled.ratio)
        if self.cost is not None:
            yield from self.cost.sentences()
        if self.needed.devices is not None:
            yield (
                f"{self.needed.devices} devices that run both show a ratio of"
                f" {text(self.needed.ratio)} with 80 % power"
            )

    def plot(self) -> plotly.Figure:
        """Return the ratios with their intervals; segments where b is worse are red."""
        rows: list[Any] = [self, *self.segments]
        return charts.dots(
            "RMSE, b to a",
            ["all", *(", ".join(segment.by.values()) for segment in self.segments)],
            [row.ratio for row in rows],
            low=[row.low for row in rows],
            high=[row.high for row in rows],
            marked=[False, *(bool(segment.worse) for segment in self.segments)],
            unit="ratio",
        )


def ask(reading: Reading, asked: Asked) -> CompareAnswer:
    """Compare version b with version a, with the device as the unit: paired where both ran.

    With --by, each segment too: a better average does not hide a worse segment.
    """
    from edgemse.fleet.arms import by_devices, devices_needed, pooled

    held = rules(asked)
    found = estimates(reading, asked, held)
    whole = found[()]
    low, high = whole.interval
    all_samples = pooled(whole.a, whole.b)
    pooled_low, pooled_high = all_samples.interval()
    delta = by_devices(whole.a, whole.b, lambda stats: stats.rmse)
    # Looks at too few devices are by windows; quantiles have none, and nothing is claimed of them.
    by_windows = held is not ONE_LOOK and whole.estimate.method == "windows"
    quantiles = tuple(tails(whole.a, whole.b, math.nan if by_windows else held.one_sided))
    far = [tail.heavier for tail in quantiles if tail.q >= FAR and tail.heavier is not None]
    smallest = asked.options["effect"]
    price = cost_of(asked)
    costs = costs_compared(reading, asked, price, found)
    versions = asked.options["b"], asked.options["a"]
    labels = labels_compared(reading, asked, *versions)
    return CompareAnswer(
        asked=asked,
        a=Figures.of({}, merge_all(whole.a.values())),
        b=Figures.of({}, merge_all(whole.b.values())),
        ratio=whole.estimate.ratio,
        low=low,
        high=high,
        p_value=whole.estimate.two_sided(),
        delta_rmse=delta.value,
        method=whole.estimate.method,
        devices=whole.estimate.devices,
        pooled=Pooled(ratio=all_samples.ratio, low=pooled_low, high=pooled_high),
        segments=tuple(
            replace(each, **segment_cost(costs, each.by)) for each in _segments(asked, found, held)
        ),
        tails=quantiles,
        tail_heavier=any(far) if far else None,
        mix=mix_of(reading, asked),
        needed=Needed(ratio=smallest, devices=devices_needed(whole.estimate, smallest)),
        looks=held.looked(whole.estimate),
        cost=costs.get(()),
        labels=labels[()],
        notes=(
            *notes_of(labels, *versions),
            *_notes(whole, held),
            *cost_notes(price, (whole.a, whole.b)),
            *refused_notes(versions_of(asked, whole)),
        ),
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """Both arms of a segment (or of all) by device, and what comes of them."""

    a: Arm
    b: Arm
    estimate: Estimate

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided 95 % interval of the ratio; NaN where there is not enough data."""
        return self.estimate.interval()


def estimates(
    reading: Reading, asked: Asked, held: Rules = ONE_LOOK
) -> dict[tuple[str, ...], Compared]:
    """Return the comparison of all cells, by the key (), and of each segment by its key.

    Devices are the unit; where there are too few of them, windows of those that ran both are.
    """
    from edgemse.fleet.arms import by_devices, usable

    sides = _sides(asked)
    arms = [_arms(reading, side) for side in sides]
    found = {}
    few = []
    for key in [(), *sorted((arms[0].keys() | arms[1].keys()) - {()})]:
        a, b = (arm.get(key, {}) for arm in arms)
        estimate = by_devices(a, b)
        paired = estimate.method == "paired"
        least = estimate.devices if paired else min(len(usable(a)), len(usable(b)))
        if not estimate.method or least < held.devices_min:
            few.append(key)
        found[key] = Compared(a, b, estimate)
    return found | dict(_of_few(reading, asked, sides, found, few, held))


def _of_few(
    reading: Reading,
    asked: Asked,
    sides: Sequence[Asked],
    found: Mapping[tuple[str, ...], Compared],
    few: Sequence[tuple[str, ...]],
    held: Rules,
) -> Iterator[tuple[tuple[str, ...], Compared]]:
    """Yield the comparison by windows of each key that has too few devices."""
    from edgemse.fleet.arms import by_windows
    from edgemse.fleet.sides import ran_both, windows_of_both

    if not few:
        return
    parts = {key: (each.a, each.b) for key, each in found.items()}
    a, b = windows_of_both(reading, asked, sides, parts)
    for key in few:
        each = found[key]
        shared = len(ran_both(each.a, each.b))
        if shared:
            estimate = by_windows(a.get(key), b.get(key), shared, held.following_max)
        else:  # what differs may be the devices: no window can tell
            estimate = each.estimate.measured(math.nan, math.nan, "")
        yield key, replace(each, estimate=estimate)


def versions_of(asked: Asked, found: Compared) -> dict[str, ErrorStats]:
    """Return the statistics of both versions, by what they are called."""
    arms = {"a": found.a, "b": found.b}
    return {f"version {asked.options[name]}": merge_all(arm.values()) for name, arm in arms.items()}


def _sides(asked: Asked) -> tuple[Asked, Asked]:
    versions = [asked.options["a"], asked.options["b"]]
    if None in versions or versions[0] == versions[1]:
        raise SettingsError("wanted a and b, two different versions")
    if "version" in asked.where or {"version", "device"} & set(asked.by):
        raise SettingsError(
            "wanted no version in where or by, which a and b choose, and no device in by: devices"
            " are the unit"
        )
    a, b = (replace(asked, where={**asked.where, "version": version}) for version in versions)
    return a, b


def _arms(reading: Reading, side: Asked) -> dict[tuple[str, ...], dict[str, ErrorStats]]:
    """Return one version's statistics by device, of each segment and, by (), of all."""
    arms: dict[tuple[str, ...], dict[str, ErrorStats]] = {(): {}}
    for key, stats in merged(reading, side, by=("device", *side.by)).stats().items():
        device, segment = key[0], key[1:]
        if segment:
            arms.setdefault(segment, {})[device] = stats
            stats = merge_all([arms[()].get(device, ErrorStats()), stats])
        arms[()][device] = stats
    return arms


def _segments(
    asked: Asked, found: Mapping[tuple[str, ...], Compared], held: Rules
) -> Iterator[Segment]:
    from edgemse.fleet.arms import holm

    keys = [key for key in found if key]
    p_values = [held.above(found[key].estimate) for key in keys]
    for key, p, adjusted in zip(keys, p_values, holm(p_values), strict=True):
        each = found[key]
        low, high = each.interval
        yield Segment(
            by=dict(zip(asked.by, key, strict=True)),
            count_a=sum(stats.count for stats in each.a.values()),
            count_b=sum(stats.count for stats in each.b.values()),
            ratio=each.estimate.ratio,
            low=low,
            high=high,
            p_value=p,
            p_adjusted=adjusted,
            worse=None if math.isnan(adjusted) else adjusted < held.one_sided,
        )


def _notes(whole: Compared, held: Rules) -> Iterator[str]:
    from edgemse.fleet.arms import COUNT_MIN, usable
    from edgemse.fleet.sides import ran_both

    method = whole.estimate.method
    arms = (whole.a, whole.b)
    if not method and not ran_both(*arms):
        yield (
            "not enough data: no device ran both versions, and too few ran one of them to tell what"
            " is the version and what the device; run both side by side"
        )
    elif not method:
        yield "not enough data: too few devices, and too few windows of them, to compare by"
    elif method == "windows" and held.open:
        yield "open looks are by windows: they speak of these devices only"
    elif method == "windows":
        yield "too few devices to speak of others than these: compared by windows"
    elif method == "unpaired":
        yield (
            "too few devices ran both versions: devices of one are compared with devices of the"
            " other, so that differences between devices count as noise"
        )
    if held is not ONE_LOOK:
        yield "low, high and p_value hold for one look only; what may be claimed stands under looks"
    few = {n for arm in arms for n, stats in arm.items() if stats.count < COUNT_MIN}
    perfect = {
        n for arm in arms for n, stats in arm.items() if stats.count >= COUNT_MIN and not stats.mse
    }
    left_out = method in ("paired", "unpaired")
    if few and left_out:
        yield f"left out: {counted(len(few), 'device')} with fewer than {COUNT_MIN} samples"
    if perfect and left_out:
        yield (
            f"left out: {counted(len(perfect), 'device')} without any error in a version, so that"
            " there is no ratio"
        )
    one, two = (usable(arm).keys() for arm in arms)
    if method in ("paired", "windows") and one ^ two:
        yield (
            "left out of everything but the figures of a and b: "
            f"{counted(len(one ^ two), 'device')} that ran one of the versions only"
        )


def _ratio(given: str) -> float:
    try:
        ratio = float(given)
    except ValueError:
        ratio = math.nan
    if not (0.01 <= ratio <= 100 and ratio != 1):
        raise SettingsError(f"ratio {given!r:.40}: wanted a number such as 1.05, not 1")
    return ratio


OPTIONS = (
    Option("a", "The version to compare with.", str, metavar="VERSION"),
    Option("b", "The version that is compared.", str, metavar="VERSION"),
)
QUESTION = Question(
    "compare",
    ask,
    CompareAnswer,
    by=(),
    options=(
        *OPTIONS,
        Option("effect", "Smallest ratio worth seeing, for `needed`.", _ratio, 1.05, "RATIO"),
        *looks.OPTIONS,
        COST,
    ),
)
