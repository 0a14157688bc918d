"""Is it as it was? Residuals, labels and scale of one span against those of another."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse import times
from edgemse.errors import SettingsError
from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, listed, percent, text
from edgemse.fleet.asked import Asked, Option, iso_time
from edgemse.fleet.merging import Group, merged
from edgemse.fleet.questions import Question
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

    from edgemse.fleet.shifting import Draws, Side, TailMoved

__all__ = [
    "QUESTION",
    "Audit",
    "DriftAnswer",
    "DriftGroup",
    "ask",
    "reference_span",
    "tail_differs",
]

ALPHA = 0.01
LABEL_SHIFT = 0.25
"""Of a standard deviation: a smaller shift of the labels is no drift. A PSI of 0.1 is 0.32."""
FACTOR = 1.2
"""By which the spread of labels, or the calibration slope, must differ."""
TAIL_ALPHA = 0.002
"""A second test of the residuals, so that both together keep ALPHA nearly (simulated)."""
TAIL_FACTOR = 1.1
"""By which the tail must reach further (or less far), beyond what chance makes of it."""
COUNT_MIN = 20
"""Samples on each side below which nothing is tested."""
WINDOWS_MAX = 240
"""Of each span, a group: more would only be slower; windows are merged before."""
ROWS_MAX = 250_000
"""Windows of all groups in a span: about ten seconds."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What became of labels in one span, as shares; NaN where there was nothing to share out."""

    labelled: float
    """Of the predictions: their label came."""
    expired: float
    """Of the predictions: none came in time."""
    orphan: float
    """Of the labels: no prediction was there for it."""
    duplicate: float
    """Of the labels: it repeats one."""
    conflicting: float
    """Of the labels: it contradicts one."""
    nonfinite: float
    """Of the samples: refused for a NaN or an infinity."""
    out_of_range: float
    """Of the samples: refused for a size that cannot be squared."""

    @classmethod
    def of(cls, stats: ErrorStats, coverage: Coverage) -> Audit:
        """Return the shares of one span."""
        labels = coverage.matched + coverage.orphan + coverage.duplicate + coverage.conflicting
        samples = stats.count + stats.nonfinite + stats.out_of_range
        return cls(
            labelled=_share(coverage.matched, coverage.predictions),
            expired=_share(coverage.expired, coverage.predictions),
            orphan=_share(coverage.orphan, labels),
            duplicate=_share(coverage.duplicate, labels),
            conflicting=_share(coverage.conflicting, labels),
            nonfinite=_share(stats.nonfinite, samples),
            out_of_range=_share(stats.out_of_range, samples),
        )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


@dataclass(frozen=True, kw_only=True)
class DriftGroup:
    """One group, then (the reference) and now."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "alarm": "alarm",
        "rmse_then": "RMSE then",
        "rmse_now": "RMSE now",
        "psi": "PSI",
        "psi_noise": "by chance",
        "p_value": "p",
        "count_then": "samples then",
        "count_now": "samples now",
        "ks": "KS",
        "tail_ratio": "tail",
        "label_shift": "label shift (sd)",
        "label_scale": "label spread",
        "calibration_slope": "slope",
        "labelled": "labelled",
    }

    by: Mapping[str, str]
    count_then: int
    count_now: int
    windows_then: int
    """Windows of the reference that hold a sample, as they were permuted."""
    windows_now: int
    rmse_then: float
    rmse_now: float
    bias_then: float
    bias_now: float
    psi: float
    """Population stability index of the residuals, ten groups by quantiles of the reference."""
    psi_noise: float
    """The PSI that chance makes of these windows; NaN: not enough data."""
    ks: float
    """Largest difference of the residuals' distribution functions at bucket bounds."""
    p_value: float
    """Of `psi`, by permuting windows between then and now; NaN: not enough data."""
    ks_p_value: float
    tail_ratio: float
    """How far the tail of |e| reaches, in medians of |e|, now to then; NaN: not enough data. Above
    1 large errors are larger than the RMSE says."""
    tail_p_value: float
    label_mean_change: float
    """Mean label now less then, in its unit."""
    label_shift: float
    """The same in standard deviations of the labels then; NaN where these did not vary."""
    label_scale: float
    """Standard deviation of the labels now to then."""
    label_p_value: float
    calibration_slope: float
    """Slope of y_true on y_pred now, ideally 1: 0.001 where a gram was taken for a kilogram."""
    calibration_slope_then: float
    slope_p_value: float
    audit_then: Audit
    audit_now: Audit
    kinds: tuple[str, ...]
    """What drifted: "residual", "label", "scaling"."""
    alarm: bool | None
    """Whether anything did; None: not enough data."""


@dataclass(frozen=True, kw_only=True)
class DriftAnswer(Answer):
    """The groups that hold a cell in either span, by name."""

    ROWS: ClassVar[str] = "groups"
    HEADINGS: ClassVar[Mapping[str, str]] = DriftGroup.HEADINGS
    WORDS: ClassVar[Collection[str]] = ("alarm",)

    groups: tuple[DriftGroup, ...]
    reference: str
    """The span of "then" in ISO 8601, START/END."""
    unit_seconds: int | None
    """How wide the windows are that were permuted; None: no width would do."""

    def sentences(self) -> Iterator[str]:
        """Yield what alarms, and by what."""
        for group in self.groups:
            if group.alarm:
                name = ", ".join(group.by.values()) or "all"
                yield (
                    f"{name}: {' and '.join(group.kinds)} drift (RMSE {text(group.rmse_then)} to"
                    f" {text(group.rmse_now)}, PSI {text(group.psi)}, p = {text(group.p_value)};"
                    f" tail x {text(group.tail_ratio)}, p = {text(group.tail_p_value)};"
                    f" labels by {text(group.label_shift)} sd; calibration slope"
                    f" {text(group.calibration_slope_then)} to {text(group.calibration_slope)})"
                )

    def alarm(self) -> str:
        """Return how many groups drift, and which."""
        found = [", ".join(group.by.values()) or "all" for group in self.groups if group.alarm]
        return f"{len(found):,} of {len(self.groups):,} drift: {listed(found)}" if found else ""

    def plot(self) -> plotly.Figure:
        """Return the groups' PSI; those that alarm are red."""
        return charts.dots(
            f"Residuals against {self.reference}",
            [", ".join(group.by.values()) for group in self.groups],
            [group.psi for group in self.groups],
            marked=[bool(group.alarm) for group in self.groups],
            unit="PSI",
        )

    def _line(self, row: DriftGroup, by: Sequence[str], _now: float | None) -> list[str]:
        own = {n: text(getattr(row, n)) for n in self._headings if n != "labelled"}
        own["labelled"] = percent(row.audit_now.labelled)
        own["alarm"] = ", ".join(row.kinds) if row.alarm else own["alarm"]
        return [*(row.by[name] for name in by), *(own[name] for name in self._headings)]


def ask(reading: Reading, asked: Asked) -> DriftAnswer:
    """Compare residuals, labels and scale now with those of a reference span.

    "Now" is from --since (the end of the reference, unless told) to --until. Windows are permuted
    between then and now, so that errors that follow each other do not alarm by themselves.
    """
    from edgemse.fleet import shifting

    step, spans = _read(reading, *_spans(asked))
    windows = {key: _windows(*pair) for key, pair in spans.items()}
    width = shifting.unit_seconds([*windows.values()], step) if windows else None
    seed = sha256(json.dumps(asked.as_json(), sort_keys=True).encode()).digest()
    drawn: dict[bytes, Draws | None] = {}
    found = []
    for key in sorted(spans):
        units = shifting.Side.of(*windows[key], width or step) if windows[key][0] else None
        draws = None
        if units is not None and width is not None and _enough(spans[key]):
            layout = units.start.tobytes() + units.now.tobytes()
            if layout not in drawn:
                drawn[layout] = shifting.draws(units.start, units.now, _generator(seed + layout))
            draws = drawn[layout]
        by = dict(zip(asked.by, key, strict=bool(asked.by)))
        found.append(_group(by, spans[key], units, draws, asked))
    return DriftAnswer(
        asked=asked,
        groups=tuple(found),
        reference=asked.options["reference"],
        unit_seconds=width,
        notes=tuple(_notes(found, width, step)),
    )


def _read(
    reading: Reading, then: Asked, now: Asked
) -> tuple[int, dict[tuple[str, ...], tuple[list[Group], list[Group]]]]:
    """Return the width of a window, and of each group its windows then and now."""
    from edgemse.fleet.windows import usual_step

    groups = max(len(merged(reading, side, histograms=False)) for side in (then, now))
    most = max(24, min(WINDOWS_MAX, ROWS_MAX // max(1, groups)))
    step = max(usual_step(reading, side, most) for side in (then, now))
    spans: dict[tuple[str, ...], tuple[list[Group], list[Group]]] = {}
    if step:
        for place, side in enumerate((then, now)):
            for each in merged(reading, side, step_seconds=step):
                spans.setdefault(tuple(each.by.values()), ([], []))[place].append(each)
    return step, spans


def _generator(seed: bytes) -> Any:
    """Return randomness that is the same for the same question about the same windows."""
    import numpy as np

    return np.random.default_rng(int.from_bytes(sha256(seed).digest(), "big"))


def _spans(asked: Asked) -> tuple[Asked, Asked]:
    reference = asked.options["reference"]
    if reference is None:
        raise SettingsError("drift: wanted reference, START/END, such as 2026-09-01/2026-09-08")
    first, last = (int(times.instant(part)) for part in reference.split("/"))
    since = last if asked.since is None else asked.since
    until = asked.until
    if until is not None and until <= since:
        raise SettingsError(
            f"drift: the reference ends at {iso_time(last)}, until {iso_time(until)}: nothing is"
            " left to compare; wanted a later until, or since too"
        )
    if since < last and (until is None or until > first):
        raise SettingsError(
            f"drift: since {iso_time(since)} is inside of the reference {reference}: a window"
            " cannot be then and now; wanted spans that do not overlap"
        )
    return replace(asked, since=first, until=last), replace(asked, since=since)


def _windows(
    then: Sequence[Group], now: Sequence[Group]
) -> tuple[list[int], list[bool], list[ErrorStats]]:
    """Return starts, which of them is now, and the states, of the windows that hold a sample."""
    rows = [(each, False) for each in then] + [(each, True) for each in now]
    rows = [(each, is_now) for each, is_now in rows if each.stats.count]
    starts = [each.start or 0 for each, _ in rows]
    return starts, [is_now for _, is_now in rows], [each.stats for each, _ in rows]


def _enough(pair: tuple[Sequence[Group], Sequence[Group]]) -> bool:
    return all(sum(each.stats.count for each in side) >= COUNT_MIN for side in pair)


def _group(
    by: Mapping[str, str],
    pair: tuple[Sequence[Group], Sequence[Group]],
    side: Side | None,
    draws: Draws | None,
    asked: Asked,
) -> DriftGroup:
    from edgemse.fleet import shifting

    then, now = (merge_all(each.stats for each in half) for half in pair)
    audits = [
        Audit.of(stats, _covered(half)) for stats, half in zip((then, now), pair, strict=True)
    ]
    moved, tail = shifting.Moved(*[math.nan] * 5), shifting.TailMoved(*[math.nan] * 3)
    label = dict.fromkeys(("mean", "shift", "scale", "p_value"), math.nan)
    slopes = (math.nan,) * 3
    if side is not None:
        moved = shifting.residual_moved(side, draws)
        tail = shifting.tail_moved(side, draws)
        halves = shifting.halves_of(side, draws)
        label = dict(shifting.label_moved(halves, draws))
        slopes = shifting.slope_moved(halves, draws)
    kinds = []
    far = moved.p_value < ALPHA and moved.psi - moved.noise > asked.options["threshold"]
    if far or tail_differs(tail):
        kinds.append("residual")
    if label["p_value"] < ALPHA and _label_differs(label):
        kinds.append("label")
    if slopes[2] < ALPHA and _far(slopes[0]) and abs(slopes[0] - slopes[1]) > 1 - 1 / FACTOR:
        kinds.append("scaling")
    return DriftGroup(
        by=by,
        count_then=then.count,
        count_now=now.count,
        windows_then=int((~side.now).sum()) if side is not None else 0,
        windows_now=int(side.now.sum()) if side is not None else 0,
        rmse_then=then.rmse,
        rmse_now=now.rmse,
        bias_then=then.bias,
        bias_now=now.bias,
        psi=moved.psi,
        psi_noise=moved.noise,
        ks=moved.ks,
        p_value=moved.p_value,
        ks_p_value=moved.ks_p_value,
        tail_ratio=tail.ratio,
        tail_p_value=tail.p_value,
        label_mean_change=label["mean"],
        label_shift=label["shift"],
        label_scale=label["scale"],
        label_p_value=label["p_value"],
        calibration_slope=slopes[0],
        calibration_slope_then=slopes[1],
        slope_p_value=slopes[2],
        audit_then=audits[0],
        audit_now=audits[1],
        kinds=tuple(kinds),
        alarm=True if kinds else None if math.isnan(moved.p_value) else False,
    )


def _covered(half: Sequence[Group]) -> Coverage:
    found = Coverage()
    for each in half:
        found.merge(each.coverage)
    return found


def tail_differs(tail: TailMoved) -> bool:
    """Tell whether the tail moved so far, and so surely, that the residuals drift."""
    if not tail.p_value <= TAIL_ALPHA:
        return False
    return abs(math.log(tail.ratio)) - math.log(tail.noise) > math.log(TAIL_FACTOR)


def _label_differs(label: Mapping[str, float]) -> bool:
    if math.isnan(label["shift"]):
        return True  # labels that never varied do now, or are others: p has said that they differ
    return abs(label["shift"]) > LABEL_SHIFT or not 1 / FACTOR <= label["scale"] <= FACTOR


def _far(slope: float) -> bool:
    return not 1 / FACTOR <= slope <= FACTOR


def _notes(groups: Sequence[DriftGroup], width: int | None, step: int) -> Iterator[str]:
    from edgemse.fleet.shifting import WINDOWS_MIN

    if not groups:
        return
    if width is None:
        yield (
            "not enough data: even days follow each other, so that their order is no chance; ask"
            " over longer spans"
        )
    elif width > step:
        yield (
            f"windows of {step} s follow each other: {width} s are taken together before they are"
            " permuted"
        )
    if width is not None:
        unknown = sum(1 for group in groups if group.alarm is None)
        if unknown:
            yield (
                f"not enough data: {unknown} of {len(groups)} groups have fewer than {WINDOWS_MIN}"
                f" windows or {COUNT_MIN} samples in one of the spans, or no histogram"
            )
    if width is not None and len(groups) > 1:
        yield (
            f"each group is tested at {percent(ALPHA, 0)} by itself: of {len(groups)} about"
            f" {text(round(ALPHA * len(groups), 2))} come under that by chance, before the"
            " thresholds"
        )


def reference_span(given: str) -> str:
    """Read START/END, and return it in ISO 8601; SettingsError if it is no span."""
    first, slash, last = given.partition("/")
    if not slash:
        raise SettingsError(f"reference {given!r:.80}: wanted two times, START/END")
    seconds = [math.ceil(times.instant(part)) for part in (first, last)]
    if not 0 <= seconds[0] < seconds[1] <= times.PLAUSIBLE_SECONDS[1]:
        raise SettingsError(f"reference {given!r:.80}: wanted START before END, from 1970 to 2242")
    return "/".join(iso_time(each) for each in seconds)


def _threshold(given: str) -> float:
    try:
        threshold = float(given)
    except ValueError:
        threshold = math.nan
    if not 0 <= threshold <= 10:
        raise SettingsError(f"threshold {given!r:.40}: wanted a PSI such as 0.05")
    return threshold


QUESTION = Question(
    "drift",
    ask,
    DriftAnswer,
    options=(
        Option("reference", "The span to compare with: START/END.", reference_span, metavar="T/T"),
        Option("threshold", "PSI beyond chance that alarms [0.05].", _threshold, 0.05, "PSI"),
    ),
)
