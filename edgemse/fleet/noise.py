"""How far each group's MSE may be off by chance: from its windows, or from its state alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from edgemse.fleet.kept import Kept
from edgemse.fleet.windows import Numbers, Windows, ewc, following
from edgemse.stats.error_stats import ErrorStats

__all__ = [
    "ERRORS",
    "SQUARES",
    "WINDOWS_MIN",
    "About",
    "Noise",
    "assumptions",
    "freedom",
    "noise_of",
]

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

    def uncertainty(
        self, parts: Numbers, variance: Numbers, freedom: Numbers | None = None
    ) -> float:
        """Return sum (a_i^2 / nu_i) of a sum of parts that are proportional to the variances.

        With it the sum has sum^2 / that degrees of freedom (Satterthwaite; nu is `freedom`, that of
        the variances unless given). Groups without windows
        of their own have the design effect of the others: where one of these is off by chance,
        all of the former are, so that its part counts with theirs.
        """
        own, at = parts.copy(), self.from_windows
        if at.any() and self.design_effect > 1:
            own[at] += parts[~at].sum() * variance[at] / variance[at].sum()
        return float((own**2 / (self.freedom if freedom is None else freedom)).sum())

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


class About(NamedTuple):
    """A mean whose noise is asked for: of squared errors, or of errors."""

    scale: Callable[[ErrorStats], float]
    """What its standard error is proportional to; 1 if to nothing."""
    independent: Callable[[ErrorStats], float]
    """Its squared standard error, of independent samples."""
    freedom: Callable[[ErrorStats], float]
    """Satterthwaite's degrees of freedom of that."""
    series: Callable[[Windows], Numbers]
    """The same mean of each window."""


def noise_of(
    groups: Mapping[Any, ErrorStats],
    windows: Mapping[Any, Windows] | None = None,
    kept: Kept | None = None,
    about: About | None = None,
) -> Noise:
    """Return the noise of each group; without windows samples are taken as independent.

    It is that of the MSE, unless `about` is ERRORS: then that of the mean error, and `mse` is 1.

    The design effect is max(1, sum of variances from windows / sum of independent ones) over the
    groups that have ten windows (in the manner of Kish 1965). Windows of K values with a pooled
    lag-1 autocorrelation r (less its standard error) are worth K (1 - r) / (1 + r): below WORTH_MIN
    they are too close. Where no group has windows, the design effect is that of windows which
    retention has put into hours or days, if any are `kept`.
    """
    usable = {key: stats for key, stats in groups.items() if stats.count >= 2}
    keys = list(usable)
    count = np.array([stats.effective_count for stats in usable.values()])
    about = about or SQUARES
    mse = np.array([about.scale(stats) for stats in usable.values()])
    independent = np.array([about.independent(stats) for stats in usable.values()])
    found = windows or {}
    long = {key: found[key] for key in keys if key in found and len(found[key].mse) >= WINDOWS_MIN}
    r = following([about.series(each) for each in long.values()]) if long else 0.0
    # Less one standard error: a few windows that follow each other by chance are no reason yet.
    r -= sum(len(each.mse) for each in long.values()) ** -0.5 if long else 0.0
    worth = (1 - max(r, 0.0)) / (1 + max(r, 0.0))
    close = {key for key, each in long.items() if len(each.mse) * worth < WORTH_MIN}
    waves = {
        key: ewc(about.series(each), each.weight) for key, each in long.items() if key not in close
    }
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
        max(about.freedom(stats) / effect, 1) for key, stats in usable.items() if key not in waves
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
    histogram, kappa = stats.histogram, 1.0
    if histogram is not None and histogram.count and stats.rmse > 0:
        kappa = histogram.square_kurtosis(stats.rmse)
    return float(min(max(2 * n / (kappa - 1 + 2 / (n - 1)), 2), max(n - 1, 2)))


def _freedom_of_errors(stats: ErrorStats) -> float:
    """Return the same of the variance of e, from its kurtosis."""
    n = stats.effective_count
    if n <= 1:
        return 2.0
    kurtosis = stats.kurtosis if stats.error_variance > 0 else 1.0
    return float(min(max(2 * n / (kurtosis - 1 + 2 / (n - 1)), 2), max(n - 1, 2)))


SQUARES = About(
    lambda stats: stats.mse,
    lambda stats: stats.mse_standard_error**2,
    freedom,
    lambda windows: windows.mse,
)
ERRORS = About(
    lambda _stats: 1.0,
    lambda stats: stats.error_variance / (stats.effective_count - 1),
    _freedom_of_errors,
    lambda windows: windows.bias,
)
