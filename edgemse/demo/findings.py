"""What the questions find in the demo's store, and what would be wrong without them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from edgemse.demo.device import MODEL
from edgemse.demo.truth import Truth
from edgemse.fleet import ask
from edgemse.fleet.answers import listed
from edgemse.fleet.compare import CompareAnswer
from edgemse.fleet.devices import DevicesAnswer
from edgemse.fleet.diagnose import DiagnoseAnswer
from edgemse.fleet.variance import VarianceAnswer
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores.base import Reading

__all__ = ["Findings", "find", "naive_p_value"]

LATE_FACTOR = 2.0
"""A device whose labels take so many times the middle's time is late."""
P_MIN = 1e-300


@dataclass(frozen=True, slots=True)
class Findings:
    """The answers to the questions that the demo asks."""

    compare: CompareAnswer
    variance: VarianceAnswer
    devices: DevicesAnswer
    diagnose: DiagnoseAnswer

    def lines(
        self, merged: Mapping[tuple[str, ...], ErrorStats], truth: Mapping[tuple[str, str], Truth]
    ) -> Iterator[str]:
        """Yield each question, what it finds, and what would have been wrong ("Not:")."""
        yield from _compared(self.compare, merged, truth)
        yield from _varied(self.variance)
        yield from _reported(self.devices)
        yield from _diagnosed(self.diagnose)


def find(reading: Reading, first: str, second: str) -> Findings:
    """Ask the store the questions that `edgemse fleet` and `edgemse diagnose` ask."""
    answers = (
        ask(reading, "compare", model=MODEL, a=first, b=second, by=["segment"]),
        ask(reading, "variance", model=MODEL, by=["device"]),
        ask(reading, "devices", model=MODEL),
        ask(reading, "diagnose", model=MODEL),
    )
    compare, variance, devices, diagnose = answers
    assert isinstance(compare, CompareAnswer)
    assert isinstance(variance, VarianceAnswer)
    assert isinstance(devices, DevicesAnswer)
    assert isinstance(diagnose, DiagnoseAnswer)
    return Findings(compare, variance, devices, diagnose)


def naive_p_value(a: ErrorStats, b: ErrorStats) -> float:
    """Return the two-sided p of equal MSE if no sample depended on another (normal law)."""
    error = math.hypot(a.mse_standard_error, b.mse_standard_error)
    return math.erfc(abs(b.mse - a.mse) / error / math.sqrt(2)) if error > 0 else math.nan


def _compared(
    found: CompareAnswer,
    merged: Mapping[tuple[str, ...], ErrorStats],
    truth: Mapping[tuple[str, str], Truth],
) -> Iterator[str]:
    first, second = (found.asked.options[name] for name in ("a", "b"))
    yield f"Is {second} better than {first}?  (edgemse fleet compare)"
    if math.isnan(found.low):
        yield "  Not enough data to tell: run longer, or with more devices."
        return
    verdict = "Yes" if found.high < 1 else "No, worse" if found.low > 1 else "Not shown"
    yield (
        f"  {verdict}: RMSE x {found.ratio:.2f} (95 %: {found.low:.2f} to {found.high:.2f},"
        f" p = {_p(found.p_value)}), by {found.devices} devices."
    )
    worse = [each for each in found.segments if each.worse]
    for each in worse:
        yield (
            f"  But worse in {each.by['segment']}: x {each.ratio:.2f} ({each.low:.2f} to"
            f" {each.high:.2f})."
        )
    arms = [merge_all(s for key, s in merged.items() if key[1] == v) for v in (first, second)]
    follow = fmean(each.following for each in truth.values() if not math.isnan(each.following))
    samples = sum(arm.count for arm in arms)
    worth = samples * (1 - follow) / (1 + follow)
    yield (
        f"  Not: p = {_p(naive_p_value(*arms))}, as if samples were independent. Errors follow"
        f" each other ({follow:.2f} from one square to the next): {samples:,} samples are worth"
        f" {worth:,.0f}, and devices differ."
    )
    if worse and found.pooled.ratio < 1:
        yield (
            f"  Not: x {found.pooled.ratio:.2f} over all samples, so out with it. The better"
            f" average hides {listed([each.by['segment'] for each in worse])}."
        )


def _varied(found: VarianceAnswer) -> Iterator[str]:
    between, groups = found.between, [each for each in found.groups if each.count]
    yield "Are the devices alike?  (edgemse fleet variance)"
    if between.method:
        yield (
            f"  They differ by about {between.spread_percent:.0f} % RMSE (95 %: {between.low:.0f}"
            f" to {between.high:.0f} %)."
        )
    else:
        yield "  Not enough data to tell by how much they differ."
    worse = [each.by["device"] for each in groups if each.materially_worse]
    if worse:
        yield f"  Over 1.2 times the middle for sure: {listed(worse)}."
    if math.isnan(between.design_effect):
        yield (
            "  Not yet: how sure that is. Ten windows show how far errors follow each other; this"
            " run is too short for it (--seconds 120), so samples count as independent above."
        )
    else:
        yield (
            f"  Not: as sure as independent samples would be. By its windows an MSE varies"
            f" {between.design_effect:.1f} times more."
        )
    means = fmean(each.rmse for each in groups) if groups else math.nan
    yield (
        f"  Not: {means:.3f}, the mean of the devices' RMSE. Of all samples it is"
        f" {found.total.rmse:.3f}: a mean of means counts who has few samples like who has many."
    )


def _reported(found: DevicesAnswer) -> Iterator[str]:
    silent = [each.device for each in found.devices if each.silent]
    lags = sorted(each.lag_p95_seconds for each in found.devices if each.lag_p95_seconds > 0)
    middle = lags[len(lags) // 2] if lags else math.nan
    late = [each for each in found.devices if each.lag_p95_seconds > LATE_FACTOR * middle]
    if silent or late:
        yield "Is everybody there?  (edgemse fleet devices)"
    if silent:
        yield f"  Silent: {listed(silent)}."
    for each in late:
        yield (
            f"  Labels are late on {each.device}: {each.lag_p95_seconds:.0f} s, elsewhere"
            f" {middle:.0f} s (95 % of them). Each counts in the window of its forecast."
        )


def _diagnosed(found: DiagnoseAnswer) -> Iterator[str]:
    yield f"What is wrong with it?  (edgemse diagnose {MODEL})"
    yield f"  {', '.join(f'{step.name}: {step.verdict}' for step in found.steps)}"
    action = found.actions[0]
    yield f"  Do: {' '.join(filter(None, (action.do, action.what)))} ({action.why})"


def _p(value: float) -> str:
    return f"{value:.1g}" if value >= P_MIN else f"under {P_MIN:g}"
