"""Is one version better than another: in all, in each segment, and in the tail?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse.errors import SettingsError
from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, Table, text
from edgemse.fleet.asked import Asked, Option
from edgemse.fleet.figures import Figures
from edgemse.fleet.merging import merged
from edgemse.fleet.questions import Question
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

    from edgemse.fleet.arms import Arm, Estimate
    from edgemse.fleet.windows import Windows

__all__ = [
    "OPTIONS",
    "QUESTION",
    "CompareAnswer",
    "Compared",
    "Needed",
    "Pooled",
    "Segment",
    "Tail",
    "ask",
    "estimates",
]

ALPHA = 0.05
TAILS = (0.5, 0.9, 0.95, 0.99)
BEYOND_MIN = 10
"""Samples of a device above a quantile from which its ratio holds (simulated)."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One segment: b to a, and whether b is worse there."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "ratio": "RMSE b to a",
        "low": "low",
        "high": "high",
        "worse": "worse",
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
    """p_adjusted under 5 %; None: not enough data."""


@dataclass(frozen=True, kw_only=True)
class Tail:
    """One quantile of the absolute error: b to a, and to what the RMSE alone would make of it."""

    q: float
    ratio: float
    low: float
    high: float
    relative: float
    """`ratio` over the ratio of the RMSE: above 1 b's errors lie further out than its RMSE says."""
    p_adjusted: float
    """Of the hypothesis that `relative` is not above 1, for all quantiles at once (Holm)."""


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
    needed: Needed

    def table(self, now: float | None = None) -> Table:
        """Return a line for each segment and one for all."""
        words = max(1, len(self.asked.by))
        total = ["all", *[""] * (words - 1)] if self.asked.by else []
        ratio = [text(value) for value in (self.ratio, self.low, self.high)]
        rest = [text(value) for value in (self.p_value, self.a.count, self.b.count)]
        return super().table(now)._replace(below=[[*total, *ratio, "", "", *rest]])

    def sentences(self) -> Iterator[str]:
        """Yield what was found, in words."""
        a, b = self.asked.options["a"], self.asked.options["b"]
        if self.method:
            how = "by windows, these devices only" if self.method == "windows" else self.method
            yield (
                f"RMSE of {b} to {a}: {text(self.ratio)} (95 %: {text(self.low)} to"
                f" {text(self.high)}; p = {text(self.p_value)}; {self.devices} devices, {how});"
                f" over all samples {text(self.pooled.ratio)}"
                f" ({text(self.pooled.low)} to {text(self.pooled.high)})"
            )
        for segment in self.segments:
            if segment.worse:
                yield f"worse in {', '.join(segment.by.values())}: {text(segment.ratio)}"
        if self.tail_heavier:
            far = [tail for tail in self.tails if tail.q >= 0.95 and tail.p_adjusted < ALPHA]
            found = ", ".join(f"{100 * tail.q:g} %: {text(tail.relative)}" for tail in far)
            yield f"the tail is heavier than the RMSE says ({found})"
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

    found = estimates(reading, asked)
    whole = found[()]
    low, high = whole.interval
    all_samples = pooled(whole.a, whole.b)
    pooled_low, pooled_high = all_samples.interval()
    delta = by_devices(whole.a, whole.b, lambda stats: stats.rmse)
    tails = tuple(_tails(whole.a, whole.b))
    far = [tail.p_adjusted for tail in tails if tail.q >= 0.95 and not math.isnan(tail.p_adjusted)]
    smallest = asked.options["effect"]
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
        segments=tuple(_segments(asked, found)),
        tails=tails,
        tail_heavier=any(p < ALPHA for p in far) if far else None,
        needed=Needed(ratio=smallest, devices=devices_needed(whole.estimate, smallest)),
        notes=tuple(_notes(whole)),
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


def estimates(reading: Reading, asked: Asked) -> dict[tuple[str, ...], Compared]:
    """Return the comparison of all cells, by the key (), and of each segment by its key.

    Devices are the unit; where there are too few of them, windows are.
    """
    from edgemse.fleet.arms import by_devices, by_windows
    from edgemse.fleet.windows import WINDOWS_MAX, usual_step

    sides = _sides(asked)
    arms = [_arms(reading, side) for side in sides]
    step = usual_step(reading, asked, WINDOWS_MAX)
    windows = [_windows(reading, side, step) for side in sides]
    found = {}
    for key in [(), *sorted((arms[0].keys() | arms[1].keys()) - {()})]:
        a, b = (arm.get(key, {}) for arm in arms)
        estimate = by_devices(a, b)
        if not estimate.method:
            estimate = by_windows(windows[0].get(key), windows[1].get(key), estimate.devices)
        found[key] = Compared(a, b, estimate)
    return found


def _sides(asked: Asked) -> tuple[Asked, Asked]:
    versions = [asked.options["a"], asked.options["b"]]
    if None in versions or versions[0] == versions[1]:
        raise SettingsError("compare: wanted two versions, --a V and --b V")
    if "version" in asked.where or {"version", "device"} & set(asked.by):
        raise SettingsError("compare: versions are --a and --b, devices are the unit: not --by")
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


def _windows(reading: Reading, side: Asked, step: int) -> Mapping[tuple[str, ...], Windows]:
    """Return one version's steps, of each segment and, by (), of all."""
    from edgemse.fleet.windows import windows_of

    if not step:
        return {}
    _, whole = windows_of(reading, replace(side, by=()), 1, step)
    segments = windows_of(reading, side, 1, step)[1] if side.by else {}
    return {**segments, **whole}


def _segments(asked: Asked, found: Mapping[tuple[str, ...], Compared]) -> Iterator[Segment]:
    from edgemse.fleet.arms import holm

    keys = [key for key in found if key]
    p_values = [found[key].estimate.above() for key in keys]
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
            worse=None if math.isnan(adjusted) else adjusted < ALPHA,
        )


def _tails(a: Arm, b: Arm) -> Iterator[Tail]:
    """Compare quantiles of |e| by device, and then the same in units of each device's RMSE.

    Paired t on log(quantile) and on log(quantile / RMSE) over the devices with ten samples above
    the quantile in both versions; the second, one-sided, with Holm over the quantiles.
    """
    from edgemse.fleet.arms import by_devices, holm

    def enough(arm: Arm, q: float) -> dict[str, ErrorStats]:
        return {n: stats for n, stats in arm.items() if stats.count * (1 - q) >= BEYOND_MIN}

    def of(q: float, relative: bool) -> Estimate:
        def value(stats: ErrorStats) -> float:
            quantile = stats.abs_quantile(q) / (stats.rmse if relative else 1.0)
            return math.log(quantile) if quantile > 0 else math.nan

        found = by_devices(enough(a, q), enough(b, q), value)
        nan = math.nan
        return found if found.method == "paired" else replace(found, value=nan, error=nan)

    relative = [of(q, relative=True) for q in TAILS]
    adjusted = holm([each.above() for each in relative])
    for q, beyond, p in zip(TAILS, relative, adjusted, strict=True):
        estimate = of(q, relative=False)
        low, high = estimate.interval()
        yield Tail(
            q=q,
            ratio=estimate.ratio,
            low=low,
            high=high,
            relative=beyond.ratio,
            p_adjusted=p,
        )


def _notes(whole: Compared) -> Iterator[str]:
    from edgemse.fleet.arms import COUNT_MIN, usable

    method = whole.estimate.method
    if not method:
        yield "not enough data: too few devices, and too few windows of them, to compare by"
    elif method == "windows":
        yield "too few devices to speak of others than these: compared by windows"
    elif method == "unpaired":
        yield (
            "too few devices ran both versions: devices of one are compared with devices of the"
            " other, so that differences between devices count as noise"
        )
    arms = (whole.a, whole.b)
    few = {n for arm in arms for n, stats in arm.items() if stats.count < COUNT_MIN}
    perfect = {
        n for arm in arms for n, stats in arm.items() if stats.count >= COUNT_MIN and not stats.mse
    }
    left_out = method in ("paired", "unpaired")
    if few and left_out:
        yield f"{len(few)} devices have fewer than {COUNT_MIN} samples: left out"
    if perfect and left_out:
        yield (
            f"{len(perfect)} devices are without any error in a version, so that there is no ratio:"
            " left out"
        )
    one, two = (usable(arm).keys() for arm in arms)
    if method == "paired" and one ^ two:
        yield (
            f"{len(one ^ two)} devices ran one of the versions only: left out of everything but the"
            " figures of a and b"
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
    ),
)
