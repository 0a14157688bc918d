"""The steps of a diagnosis: each asks the questions that there are, and says what they found."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgemse.fleet.answers import percent
from edgemse.fleet.asked import Asked
from edgemse.fleet.compare import CompareAnswer
from edgemse.fleet.devices import Device, DevicesAnswer
from edgemse.fleet.diagnosed import FINE, NOT_ENOUGH, TROUBLE, Step
from edgemse.fleet.drift import Audit, DriftAnswer, DriftGroup
from edgemse.fleet.merging import merged
from edgemse.fleet.questions import find
from edgemse.fleet.rivals import Rival, others_moved, rival
from edgemse.fleet.segments import SegmentsAnswer
from edgemse.fleet.selection import select
from edgemse.fleet.spans import Spans
from edgemse.fleet.variance import VarianceAnswer
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.base import Reading

__all__ = ["Suspect", "Triage"]

COUNT_MIN = 20
"""Samples of a version, or predictions, labels or samples of a span, below which nothing is said of
them."""
OF_LABELS, OF_SAMPLES = ("orphan", "duplicate", "conflicting"), ("nonfinite", "out_of_range")
"""What may be wrong with a label, and what is refused of samples."""
LATE = 0.1
"""By how much a smaller share of predictions has its label than then: late."""
LABELLED_MIN = 0.8
"""The same where there is no then."""
WRONG = 0.05
"""Share of labels or samples from which what is wrong with them is named, if it has doubled."""
MOST = 0.5
"""The same, doubled or not."""
VERSIONS_MAX, NAMED_MAX, MEASURES_MAX = 5, 5, 50
FEW = 3
"""Groups up to which flags cannot tell the bad one from the middle: each is held against itself."""
ALPHA = 0.05
BORN = "SELECT g1, min(first_start_seconds) FROM ({}) AS chosen GROUP BY g1"
MEASURES = "SELECT DISTINCT g1 FROM ({}) AS chosen ORDER BY g1"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A device or a segment that stands out."""

    name: str
    ratio: float
    """RMSE to the middle of the others, or to itself then."""
    new: bool | None
    """It drifted since then; None: not known."""
    kinds: tuple[str, ...]
    """What drifted."""
    words: str


class Triage:
    """The steps of one diagnosis, and what their actions need to know."""

    def __init__(self, reading: Reading, asked: Asked, spans: Spans) -> None:
        self._reading = reading
        self._where = asked.where
        self.spans = spans
        self.late: str = ""
        self.silent: tuple[str, ...] = ()
        self.wrong_labels: tuple[str, ...] = ()
        self.worse: dict[str, str] = {}
        self.devices: list[Suspect] = []
        self.segments: list[Suspect] = []
        self.by_version: dict[str, str] = {}
        self.drifted: list[str] = []
        self.rmse_then = self.rmse_now = math.nan
        self.steps = (
            self._labels(),
            self._versions(),
            self._devices(),
            self._segments(),
            self._drift(),
        )

    def notes(self) -> list[str]:
        """Return what to know before believing it."""
        found = []
        if self.spans.then is None:
            found.append("not enough data: no cell is before now, so that nothing can have changed")
        if self.spans.began == "recent":
            found.append("the trend shows no rise: now is the latest part of what there is")
        return found

    def _ask(self, name: str, span: tuple[int, int] | None = None, **given: Any) -> Any:
        """Ask a question of this model, now unless told otherwise."""
        question = find(name)
        by, where = given.pop("by", None), given.pop("where", {})
        parsed = question.parse({key: [str(value)] for key, value in given.items()}, now=0.0)
        since, until = span or (self.spans.since, self.spans.until)
        asked = replace(parsed, where={**self._where, **where}, since=since, until=until)
        return question.ask(self._reading, asked if by is None else replace(asked, by=by))

    def _audit(self, span: tuple[int, int] | None) -> tuple[Audit, Coverage, int]:
        """Return what became of labels, and of how many samples it is, refused ones included."""
        if span is None:
            return Audit.of(ErrorStats(), Coverage()), Coverage(), 0
        asked = Asked(where=self._where, since=span[0], until=span[1])
        groups = merged(self._reading, asked, histograms=False, lag_histograms=True).groups
        each = groups[0] if groups else None
        stats, coverage = (each.stats, each.coverage) if each else (ErrorStats(), Coverage())
        samples = stats.count + stats.nonfinite + stats.out_of_range
        return Audit.of(stats, coverage), coverage, samples

    def _labels(self) -> Step:
        """Are labels fresh, and are they right?"""
        then, before, _ = self._audit(self.spans.then)
        now, covered, samples = self._audit((self.spans.since, self.spans.until))
        lag = before.lag_histogram.abs_quantile(0.95)
        evidence = {
            "predictions now": float(covered.predictions),
            "labelled then": then.labelled,
            "labelled now": now.labelled,
            "expired now": now.expired,
            "lag p95 then, seconds": lag,
            "lag p95 now, seconds": covered.lag_histogram.abs_quantile(0.95),
        }
        self.wrong_labels = tuple(
            kind
            for kind in (*OF_LABELS, *OF_SAMPLES)
            if (_labels(covered) if kind in OF_LABELS else samples) >= COUNT_MIN
            and getattr(now, kind) > min(MOST, max(WRONG, 2 * _or_zero(getattr(then, kind))))
        )
        known = not math.isnan(then.labelled)
        least = then.labelled - LATE if known else LABELLED_MIN
        named = self.wrong_labels
        evidence |= {f"{kind} now": getattr(now, kind) for kind in named}
        words = f"{percent(now.labelled)} of the predictions of now have their label"
        words += f" ({percent(then.labelled)} then)" if known else ""
        few = 0 < covered.predictions < COUNT_MIN
        if few and not named:
            return _step(1, "labels", NOT_ENOUGH, "too few predictions of now", (), evidence)
        if not few and now.labelled <= max(least, 0.0):
            self.late = f"{words}; {percent(now.expired)} have expired without one"
            if lag > 0:
                self.late += f"; 95 % came within {_short(lag)} s then"
            named = ("late", *named)
        finding = self.late or (words if covered.predictions else "samples come with their labels")
        if self.wrong_labels:
            shares = (f"{kind} {percent(getattr(now, kind))}" for kind in self.wrong_labels)
            finding += f"; of labels or samples are {', '.join(shares)}"
        return _step(1, "labels", TROUBLE if named else FINE, finding, named, evidence)

    def _versions(self) -> Step:
        """Is a version that runs now worse than the oldest of those that ran most then?"""
        now: DevicesAnswer = self._ask("devices")
        self._heard = {each.device: each for each in now.devices}
        self.by_version = {each.device: each.version or "" for each in now.devices}
        counts = {mix.version: mix.count for mix in now.versions}
        before: dict[str, int] = {}
        if self.spans.then is not None:
            mixes = self._ask("devices", self.spans.then).versions
            before = {mix.version: mix.count for mix in mixes}
        self._born = self._first_windows()
        ran = before or counts
        most = [version for version, n in ran.items() if 2 * n >= max(ran.values())]
        main = min(most, key=self._age, default="")
        evidence = {
            f"samples of {version or chr(39) * 2} now": float(n) for version, n in counts.items()
        }
        others = sorted(
            (v for v, n in counts.items() if v != main and n >= COUNT_MIN), key=lambda v: -counts[v]
        )
        if not others:
            words = f"one version, {main or chr(39) * 2}" if counts else "no cell of now"
            return _step(2, "version", FINE if counts else NOT_ENOUGH, words, (), evidence)
        both = counts.get(main, 0) >= COUNT_MIN
        return self._compared(main, others[:VERSIONS_MAX], both, evidence)

    def _first_windows(self) -> dict[str, int]:
        """Return when the first window of each version started."""
        asked = Asked(where=self._where, until=self.spans.until)
        selection = select(self._reading, asked, by=("version",))
        rows = self._reading.rows(BORN.format(selection.sql), selection.parameters)
        return dict(iter(rows))

    def _age(self, version: str) -> tuple[int, list[tuple[bool, int, str]]]:
        """Return what sorts versions by age: their first window, or else 9 before 10."""
        parts = re.findall(r"\d+|\D+", version)
        numbers = [(p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]
        return self._born.get(version, 0), numbers

    def _side_by_side(self, main: str, other: str, both: bool) -> tuple[int, int]:
        """Return the span since both ran, or, where one replaced the other, all of then and now."""
        then = self.spans.then[0] if self.spans.then else self.spans.since
        born = max(self._born.get(main, then), self._born.get(other, then))
        return (max(then, born) if both else then), self.spans.until

    def _compared(
        self,
        main: str,
        others: Sequence[str],
        both: bool,
        evidence: dict[str, float],
    ) -> Step:
        from edgemse.fleet.arms import holm

        found = {other: self._rival(main, other, both) for other in others}
        adjusted = dict(zip(found, holm([each.p_value for each in found.values()]), strict=True))
        said = []
        for other, each in found.items():
            words = (
                f"RMSE of {other} to {main} {_short(each.ratio)} ({_short(each.low)} to"
                f" {_short(each.high)}, p = {_short(each.p_value)}, {each.method or NOT_ENOUGH})"
            )
            if each.itself is not None:
                words += (
                    f", its devices to themselves before {_short(each.itself.ratio)}"
                    f" ({_short(each.itself.low)} to {_short(each.itself.high)})"
                )
            if 0 < len(each.parts) < each.segments:
                words += f", worse in segment {', '.join(each.parts[:NAMED_MAX])}"
            evidence |= {f"ratio {other}": each.ratio, f"low {other}": each.low}
            evidence |= {f"high {other}": each.high, f"p {other}": each.p_value}
            said.append(words)
            worse = (adjusted[other] < ALPHA and each.ratio > 1) or (
                each.segments > 1 and each.parts
            )
            # An old version that still runs somewhere is nothing to roll back.
            if worse and self._age(other) > self._age(main):
                self.worse[other] = words
        finding = "; ".join(said)
        if not both:
            finding += "; they ran one after the other, so that time may be the reason too"
        unknown = all(not each.method for each in found.values())
        verdict = TROUBLE if self.worse else NOT_ENOUGH if unknown else FINE
        return _step(2, "version", verdict, finding, tuple(self.worse), evidence)

    def _rival(self, main: str, other: str, both: bool) -> Rival:
        """Compare a version with the main one, on the devices that run it too."""

        def compare(span: tuple[int, int]) -> CompareAnswer:
            found: CompareAnswer = self._ask("compare", span, a=main, b=other, by=("segment",))
            return found

        now, then = (self.spans.since, self.spans.until), self.spans.then or (0, 0)
        return rival(
            compare(self._side_by_side(main, other, both)),
            lambda: compare((then[0], now[1])),
            lambda: others_moved(
                self._by_device(then), self._by_device(now), self.by_version, other
            ),
        )

    def _by_device(self, span: tuple[int, int]) -> dict[str, ErrorStats]:
        asked = Asked(where=self._where, since=span[0], until=span[1])
        found = merged(self._reading, asked, by=("device",), histograms=False).stats()
        return {key[0]: stats for key, stats in found.items()}

    def _devices(self) -> Step:
        """Which devices are worse than the others, or than themselves then?"""
        found: VarianceAnswer = self._ask("variance", by=("device",))
        ratios = {g.by["device"]: g.ratio for g in found.groups}
        flagged = {g.by["device"]: g.ratio for g in found.groups if g.materially_worse}
        unusual = [g for g in found.groups if g.unusual and not g.materially_worse]
        for each in sorted(unusual, key=lambda g: -g.ratio)[:NAMED_MAX]:
            # A device that always was a little worse than the others is no news.
            if self._suspect("device", each.by["device"], each.ratio).new:
                flagged[each.by["device"]] = each.ratio
        known = any(g.materially_worse is not None for g in found.groups)
        evidence = {"p that they are alike": found.variance.p_value}
        evidence |= {"spread, percent": found.between.spread_percent}
        step, self.devices = self._standing("device", "devices", ratios, flagged, known, evidence)
        silent = [name for name, heard in self._heard.items() if heard.silent]
        self.silent = tuple(silent)
        if silent:
            more = f" and {len(silent) - NAMED_MAX} more" if len(silent) > NAMED_MAX else ""
            words = f"; silent: {', '.join(silent[:NAMED_MAX])}{more}"
            step = replace(step, finding=step.finding + words)
        return step

    def _segments(self) -> Step:
        """Which segments are worse than the fleet, or than themselves then?"""
        ranked: SegmentsAnswer = self._ask("segments", by=("segment",))
        found: VarianceAnswer = self._ask("variance", by=("segment",))
        ratios = {g.by["segment"]: g.ratio for g in found.groups}
        worse = {g.by["segment"] for g in found.groups if g.materially_worse}
        worse |= {g.by["segment"] for g in ranked.groups if g.worse}
        known = any(g.materially_worse is not None for g in found.groups)
        evidence = {f"share {g.by['segment']}": g.share for g in ranked.groups[:NAMED_MAX]}
        flagged = {name: ratios[name] for name in worse}
        step, self.segments = self._standing(
            "segment", "segments", ratios, flagged, known, evidence
        )
        return step

    def _standing(
        self,
        column: str,
        name: str,
        ratios: Mapping[str, float],
        flagged: Mapping[str, float],
        known: bool,
        evidence: dict[str, float],
    ) -> tuple[Step, list[Suspect]]:
        """Return the step about groups, and those that stand out, the worst first."""
        if len(ratios) < 2:
            words = f"one {column} only: there is none to compare it with"
            return _step(3, name, FINE if ratios else NOT_ENOUGH, words, (), evidence), []
        order = sorted(flagged, key=lambda each: (-_or_zero(flagged[each]), each))
        suspects = [self._suspect(column, each, flagged[each]) for each in order[:NAMED_MAX]]
        if not suspects and len(ratios) <= FEW:
            suspects, known = self._against_themselves(column, known)
        evidence |= {f"ratio {each.name or chr(39) * 2}": each.ratio for each in suspects}
        named = tuple(order) or tuple(each.name for each in suspects)
        if suspects:
            words = f"{len(named)} of {len(ratios)} stand out: " + "; ".join(
                each.words for each in suspects
            )
            return _step(3, name, TROUBLE, words, named, evidence), suspects
        if not known:
            words = f"{len(ratios)} {name}, with too few samples or windows to tell"
            return _step(3, name, NOT_ENOUGH, words, (), evidence), []
        return _step(3, name, FINE, f"none of {len(ratios)} stands out", (), evidence), []

    def _suspect(self, column: str, name: str, ratio: float) -> Suspect:
        """Return what is known of a group that stands out: since when, and by what."""
        words = f"{name or chr(39) * 2} has {_short(ratio)} times the RMSE of the middle"
        group = self._drift_of(where={column: name})
        new = None if group is None or group.alarm is None else group.alarm
        kinds = group.kinds if group is not None else ()
        if group is not None and new is not None:
            moved = f"{_short(group.rmse_then)} then, {_short(group.rmse_now)} now"
            words += f", {'new' if new else 'as before'} ({moved})"
        device: Device | None = self._heard.get(name) if column == "device" else None
        if device is not None and device.worst_share > 0.5:
            share = percent(device.worst_share)
            words += f"; one sample has {share} of its squared error: an outlier"
        return Suspect(name, ratio, new, kinds, words)

    def _against_themselves(self, column: str, known: bool) -> tuple[list[Suspect], bool]:
        """Return those of a few groups that got worse, unless all did."""
        if self.spans.reference is None:
            return [], known
        found: DriftAnswer = self._ask("drift", reference=self.spans.reference, by=(column,))
        moved = [g for g in found.groups if "residual" in g.kinds and g.rmse_now > g.rmse_then]
        known = known or any(g.alarm is not None for g in found.groups)
        if len(moved) == len(found.groups):
            return [], known
        return [
            Suspect(
                g.by[column],
                g.rmse_now / g.rmse_then,
                True,
                g.kinds,
                f"{g.by[column] or chr(39) * 2} has {_short(g.rmse_now / g.rmse_then)} times its"
                f" RMSE then (p = {_short(g.p_value)})",
            )
            for g in sorted(moved, key=lambda g: g.rmse_then / g.rmse_now)
        ], known

    def _drift_of(self, **given: Any) -> DriftGroup | None:
        """Return how one group drifted; None where there is no then."""
        if self.spans.reference is None:
            return None
        found: DriftAnswer = self._ask("drift", reference=self.spans.reference, by=(), **given)
        return found.groups[0] if found.groups else None

    def _drift(self) -> Step:
        """Did labels, features or the scale drift, or the residuals alone?"""
        group = self._drift_of()
        if group is None:
            return _step(4, "drift", NOT_ENOUGH, "nothing before now to compare with", (), {})
        self.rmse_then, self.rmse_now = group.rmse_then, group.rmse_now
        moved = {name: self._drift_of(where={"measure": name}) for name in self._followed()}
        alarmed = {name: each for name, each in moved.items() if each is not None and each.alarm}
        self.drifted = [*group.kinds, *alarmed]
        evidence = {
            "psi": group.psi,
            "psi by chance": group.psi_noise,
            "p": group.p_value,
            "label shift, sd": group.label_shift,
            "label p": group.label_p_value,
            "calibration slope then": group.calibration_slope_then,
            "calibration slope now": group.calibration_slope,
            "slope p": group.slope_p_value,
        }
        evidence |= {f"psi {name}": each.psi for name, each in alarmed.items()}
        if group.alarm is None and not self.drifted:
            words = "too few windows or samples in one of the spans"
            return _step(4, "drift", NOT_ENOUGH, words, (), evidence)
        words = (
            f"RMSE {_short(group.rmse_then)} then, {_short(group.rmse_now)} now; residuals PSI"
            f" {_short(group.psi)} (p = {_short(group.p_value)}), labels by"
            f" {_short(group.label_shift)} sd (p = {_short(group.label_p_value)}), calibration"
            f" slope {_short(group.calibration_slope_then)} to {_short(group.calibration_slope)}"
        )
        if self.drifted:
            words = f"{', '.join(self.drifted)} drifted: {words}"
        verdict = TROUBLE if self.drifted else FINE
        return _step(4, "drift", verdict, words, tuple(self.drifted), evidence)

    def _followed(self) -> list[str]:
        """Return the measures that are features, labels or predictions."""
        where = {name: value for name, value in self._where.items() if name != "measure"}
        asked = Asked(where=where, since=self.spans.since, until=self.spans.until)
        selection = select(self._reading, asked, by=("measure",))
        rows = self._reading.rows(MEASURES.format(selection.sql), selection.parameters)
        names = [name for (name,) in rows]
        wanted = [n for n in names if n.startswith("feature:") or n in ("label", "prediction")]
        return wanted[:MEASURES_MAX]

    @property
    def unknown(self) -> Sequence[str]:
        """Steps that had not enough data."""
        return [each.name for each in self.steps if each.verdict == NOT_ENOUGH]

    @property
    def risen(self) -> bool:
        """The error is higher now than then."""
        return self.rmse_now > self.rmse_then


def _labels(coverage: Coverage) -> int:
    return coverage.matched + sum(int(getattr(coverage, kind)) for kind in OF_LABELS)


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _step(
    step: int,
    name: str,
    verdict: str,
    finding: str,
    named: tuple[str, ...],
    evidence: Mapping[str, float],
) -> Step:
    return Step(
        step=step, name=name, verdict=verdict, finding=finding, named=named, evidence={**evidence}
    )
