"""How far each group's MSE may be off by chance: from its windows, or from its state alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from edgemse.fleet.kept import Kept
from edgemse.fleet.windows import Numbers, Windows, ewc, following
from edgemse.stats.error_stats import ErrorStats

__all__ = ["WINDOWS_MIN", "Noise", "assumptions", "freedom", "noise_of"]

WINDOWS_MIN = 10
"""Windows of a group from which its dependence can be estimated."""
WORTH_MIN = 7.5
"""Of windows that follow each other, in independent ones: above it a test of 20 groups at 5 %
rejects in 5 to 7 % (AR(1) up to 0.97, simulated), at 7 in 10 %, at 5 in 18 %."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Arrays with a place for each group that has at least two samples.

    The variance of an MSE is from equal-weighted cosines over windows where there are ten that do
    not follow each other too closely, else from the state, times `design_effect`.
    """

    keys: Sequence[Any]
    count: Numbers
    """Samples; under weights the effective number W^2 / W2."""
    mse: Numbers
    variance: Numbers
    """Squared standard error of `mse`."""
    freedom: Numbers
    """Degrees of freedom of `variance`."""
    relative_freedom: Numbers
    """The same in Satterthwaite's sense: how surely the ratio of `variance` to mse^2 is known."""
    log_variance: Numbers
    """Sampling variance of log(count variance / mse^2)."""
    independent: Numbers
    """What `variance` would be if no sample depended on another."""
    from_windows: NDArray[np.bool_]
    design_effect: float
    """How much larger the variance is for dependence, pooled over groups; NaN where not known."""
    too_close: bool
    """Windows follow each other so closely that the span is too short to say how closely."""
    kept: Kept | None = None
    """What the design effect is from, where it is not from windows that are there."""

    def taken(self, places: NDArray[np.bool_]) -> Noise:
        """Return the groups at these places."""
        return Noise(
            [key for key, taken in zip(self.keys, places, strict=True) if taken],
            self.count[places],
            self.mse[places],
            self.variance[places],
            self.freedom[places],
            self.relative_freedom[places],
            self.log_variance[places],
            self.independent[places],
            self.from_windows[places],
            self.design_effect,
            self.too_close,
            self.kept,
        )


def noise_of(
    groups: Mapping[Any, ErrorStats],
    windows: Mapping[Any, Windows] | None = None,
    kept: Kept | None = None,
) -> Noise:
    """Return the noise of each group; without windows samples are taken as independent.

    The design effect is max(1, sum of variances from windows / sum of independent ones) over the
    groups that have ten windows (in the manner of Kish 1965). Windows of K values with a pooled
    lag-1 autocorrelation r (less its standard error) are worth K (1 - r) / (1 + r): below WORTH_MIN
    they are too close. Where no group has windows, the design effect is that of windows which
    retention has put into hours or days, if any are `kept`.
    """
    usable = {key: stats for key, stats in groups.items() if stats.count >= 2}
    keys = list(usable)
    count = np.array([stats.effective_count for stats in usable.values()])
    mse = np.array([stats.mse for stats in usable.values()])
    independent = np.array([stats.mse_standard_error for stats in usable.values()]) ** 2
    found = windows or {}
    long = {key: found[key] for key in keys if key in found and len(found[key].mse) >= WINDOWS_MIN}
    r = following([each.mse for each in long.values()]) if long else 0.0
    # Less one standard error: a few windows that follow each other by chance are no reason yet.
    r -= sum(len(each.mse) for each in long.values()) ** -0.5 if long else 0.0
    worth = (1 - max(r, 0.0)) / (1 + max(r, 0.0))
    close = {key for key, each in long.items() if len(each.mse) * worth < WORTH_MIN}
    waves = {key: ewc(each.mse, each.weight) for key, each in long.items() if key not in close}
    at = np.array([key in waves for key in keys], dtype=bool)
    variance, degrees = independent.copy(), np.maximum(count - 1, 1)
    variance[at] = [waves[key].variance for key in keys if key in waves]
    degrees[at] = [waves[key].freedom for key in keys if key in waves]
    known = at.any() and independent[at].sum() > 0
    effect = max(1.0, float(variance[at].sum() / independent[at].sum())) if known else 1.0
    used = None if known or close else kept
    if used is not None:
        effect = used.design_effect
    variance[~at] *= effect
    degrees[~at] = np.maximum(degrees[~at] / effect, 1)
    relative = degrees.copy()
    relative[~at] = [
        max(freedom(stats) / effect, 1) for key, stats in usable.items() if key not in waves
    ]
    log_variance = polygamma(1, degrees / 2)
    if not at.all():
        n = count[~at]
        log_variance[~at] = np.minimum(1, np.median(2 * n / relative[~at]) / n)
    return Noise(
        keys,
        count,
        mse,
        variance,
        degrees,
        relative,
        log_variance,
        independent,
        at,
        effect if known or used else float("nan"),
        bool(close) and not waves,
        used,
    )


INDEPENDENT = (
    "intervals and p-values assume samples that do not depend on each other (no group has ten"
    " windows that could show it); errors that follow each other make them too small"
)
TOO_CLOSE = (
    "not enough data: windows follow each other so closely that their span is too short to tell"
    " noise from differences; ask over a longer time"
)


def assumptions(noise: Noise) -> Iterator[str]:
    """Yield what the noise takes for granted, in words; nothing where windows show it all."""
    if noise.too_close:
        yield TOO_CLOSE
    elif noise.kept:
        yield (
            "no group has ten windows any more: its noise is that of independent samples times the"
            f" design effect of {noise.kept.windows:,} windows that retention has put into hours or"
            f" days, {noise.kept.design_effect:.2f} (neighbours' autocorrelation"
            f" {noise.kept.autocorrelation:.2f}), which only shows what repeats within these"
        )
    elif not noise.from_windows.any():
        yield INDEPENDENT
    elif not noise.from_windows.all():
        yield (
            f"{int((~noise.from_windows).sum())} of {len(noise.keys)} groups have too few windows:"
            " their noise is that of independent samples times the design effect of the others"
        )


def freedom(stats: ErrorStats) -> float:
    """Return Satterthwaite's degrees of freedom of the variance of e^2, from the histogram.

    df = 2 n / (kappa - 1 + 2 / (n - 1)), held in [2, n - 1], where kappa is the kurtosis of e^2,
    with density uniform inside a bucket. n - 1 where there is no histogram; 2 where one weight is
    so large that the effective count is 1.

    Source: Satterthwaite, An Approximate Distribution of Estimates of Variance Components,
    Biometrics Bulletin 2 (1946).
    """
    n = stats.effective_count
    if n <= 1:
        return 2.0
    kappa = _square_kurtosis(stats)
    return float(min(max(2 * n / (kappa - 1 + 2 / (n - 1)), 2), max(n - 1, 2)))


GROWTH = 2.0**0.125
"""Each bucket's upper bound over its lower one (OpenTelemetry's scale 3)."""


def _square_kurtosis(stats: ErrorStats) -> float:
    unit, histogram = stats.rmse, stats.histogram
    if histogram is None or not (unit > 0 and histogram.count):
        return 1.0
    total = histogram.count
    means = dict.fromkeys((2, 4, 6, 8), 0.0)
    for offset, counts in (histogram.positive(), histogram.negative()):
        low = GROWTH ** (offset + np.arange(len(counts))) / unit
        for p in means:
            within = (GROWTH ** (p + 1) - 1) / ((p + 1) * (GROWTH - 1))
            means[p] += float(np.asarray(counts, dtype=np.float64) @ low**p) * within / total
    e2, e4, e6, e8 = means.values()
    variance = e4 - e2 * e2
    if not variance > 0:
        return 1.0
    return (e8 - 4 * e6 * e2 + 6 * e4 * e2**2 - 3 * e2**4) / variance**2
