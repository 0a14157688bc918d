"""Do mean errors differ between groups? Welch's test, on windows where there are ten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgemse.stats.error_stats import ErrorStats

if TYPE_CHECKING:
    from edgemse.fleet.windows import Numbers, Windows

__all__ = ["Welch", "welch"]

WINDOWS_MIN = 10
WORTH_MIN = 7.5
"""As edgemse.fleet.noise has it, which loads scipy."""
METHODS = {
    (False, False): "states",
    (True, False): "windows and states",
    (True, True): "windows",
}
"""By whether any, and whether all groups have enough windows."""


@dataclass(frozen=True, kw_only=True)
class Welch:
    """Welch's test that all groups have one mean error (bias); see `welch`. NaN: not enough."""

    f: float
    df1: float
    df2: float
    p_value: float
    method: str
    """Where noise is from: "windows"; "windows and states", where some groups have too few of them;
    or "states", which takes samples as independent."""


def welch(groups: Mapping[Any, ErrorStats], windows: Mapping[Any, Windows] | None = None) -> Welch:
    """Test whether the groups' mean errors differ, with a variance of its own for each.

    With means b_i of variance v_i with nu_i degrees of freedom, w_i = 1 / v_i, W = sum w_i, their
    weighted mean b and k groups:

        f = sum w_i (b_i - b)^2 / (k - 1) / (1 + 2 (k - 2) / (k^2 - 1) L)
        L = sum (1 - w_i / W)^2 / nu_i        df1 = k - 1        df2 = (k^2 - 1) / (3 L)

    Of a group that has K >= 10 windows of weights W_k and means x_k, v = K / (K - 1)
    sum (W_k / W)^2 (x_k - b)^2 and nu = K - 1, and with the pooled lag-1 autocorrelation r of the
    means, v times and nu over (1 + r) / (1 - r): a window is not independent of its neighbour. That
    factor is known only so well, and shared by all groups: 1 / df2 also has 2 / ((1 - r^2) sum K),
    half of the variance of its logarithm (1 / sum K where r is not above 0).
    Otherwise v = error variance / (n - 1), nu = n - 1, v times and nu over how much larger the
    variances of those that have windows are than independent samples would make them (at least 1).

    NaN with fewer than two groups of ten samples, or one whose errors do not vary, or windows that
    are worth fewer than 7.5 independent ones (edgemse.fleet.noise.WORTH_MIN).

    Source: Welch, On the Comparison of Several Mean Values, Biometrika 38 (1951).
    """
    import numpy as np
    from scipy.special import fdtrc

    usable = {key: stats for key, stats in groups.items() if stats.effective_count >= WINDOWS_MIN}
    found = windows or {}
    at = np.array(
        [key in found and len(found[key].count) >= WINDOWS_MIN for key in usable], dtype=bool
    )
    long = [found[key] for key, is_long in zip(usable, at, strict=True) if is_long]
    v, nu = _of_states(usable)
    shared = float("inf")
    if long:
        own, freedom, follow, shared = _of_windows(long)
        close = float(freedom.mean() + 1) / follow < WORTH_MIN
        effect = max(1.0, follow * float(own.sum() / v[at].sum())) if v[at].sum() > 0 else 1.0
        v[at], nu[at] = own * follow, np.maximum(freedom / follow, 1)
        v[~at], nu[~at] = v[~at] * effect, np.maximum(nu[~at] / effect, 1)
    method = METHODS[bool(at.any()), bool(at.all())] if usable else "states"
    k, nan = len(usable), float("nan")
    if k < 2 or not np.all(v > 0) or (long and close):
        return Welch(f=nan, df1=nan, df2=nan, p_value=nan, method=method)
    bias = np.array([stats.bias for stats in usable.values()])
    w = 1 / v
    g = w / w.sum()
    lost = float(((1 - g) ** 2 / nu).sum())
    between = float((w * (bias - (g * bias).sum()) ** 2).sum()) / (k - 1)
    f = between / (1 + 2 * (k - 2) / (k * k - 1) * lost)
    df2 = 1 / (3 * lost / (k * k - 1) + 1 / shared)
    return Welch(f=f, df1=k - 1.0, df2=df2, p_value=float(fdtrc(k - 1, df2, f)), method=method)


def _of_states(groups: Mapping[Any, ErrorStats]) -> tuple[Numbers, Numbers]:
    """Return variance and degrees of freedom of each mean error, of independent samples."""
    import numpy as np

    nu = np.array([stats.effective_count - 1 for stats in groups.values()], dtype=float)
    return np.array([stats.error_variance for stats in groups.values()]) / nu, nu


def _of_windows(series: Sequence[Windows]) -> tuple[Numbers, Numbers, float, float]:
    """Return the same of independent windows, how much more they are as they follow, and its nu."""
    import numpy as np

    from edgemse.fleet.windows import following

    shares = [each.weight / each.weight.sum() for each in series]
    nu = np.array([len(share) - 1.0 for share in shares])
    v = np.array(
        [
            (share**2 * (each.bias - share @ each.bias) ** 2).sum()
            for share, each in zip(shares, series, strict=True)
        ]
    )
    r = following([each.bias for each in series])
    r = r if r > 0 else 0.0  # NaN: nothing varies
    # Held at 0, r scatters half as much.
    shared = (1 - r * r) * float(nu.sum() + len(nu)) / (2 if r else 1)
    return v * (nu + 1) / nu, nu, (1 + r) / (1 - r), shared
