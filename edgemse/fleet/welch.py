"""Do mean errors differ between groups? Welch's test, on windows where there are ten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgemse.stats.error_stats import ErrorStats

if TYPE_CHECKING:
    from edgemse.fleet.windows import Windows

__all__ = ["Welch", "welch"]

WINDOWS_MIN = 10


@dataclass(frozen=True, kw_only=True)
class Welch:
    """Welch's test that all groups have one mean error (bias); see `welch`. NaN: not enough."""

    f: float
    df1: float
    df2: float
    p_value: float
    method: str
    """Where noise is from: "windows", or "states", which takes samples as independent."""


def welch(groups: Mapping[Any, ErrorStats], windows: Mapping[Any, Windows] | None = None) -> Welch:
    """Test whether the groups' mean errors differ, with a variance of its own for each.

    With means b_i of variance v_i with nu_i degrees of freedom, w_i = 1 / v_i, W = sum w_i, their
    weighted mean b and k groups:

        f = sum w_i (b_i - b)^2 / (k - 1) / (1 + 2 (k - 2) / (k^2 - 1) L)
        L = sum (1 - w_i / W)^2 / nu_i        df1 = k - 1        df2 = (k^2 - 1) / (3 L)

    If every group has K >= 10 windows of weights W_k and means x_k, v = K / (K - 1)
    sum (W_k / W)^2 (x_k - b)^2 and nu = K - 1: windows may be taken as independent where samples
    are not, if they are a few times longer than what makes errors follow each other. Otherwise
    v = error variance / (n - 1), nu = n - 1.

    NaN with fewer than two groups of ten samples, or one whose errors do not vary.

    Source: Welch, On the Comparison of Several Mean Values, Biometrika 38 (1951).
    """
    import numpy as np
    from scipy.special import fdtrc

    usable = {key: stats for key, stats in groups.items() if stats.effective_count >= WINDOWS_MIN}
    found = windows or {}
    by_window = bool(usable) and all(
        key in found and len(found[key].mse) >= WINDOWS_MIN for key in usable
    )
    bias = np.array([stats.bias for stats in usable.values()])
    if by_window:
        parts = [(found[key].weight / found[key].weight.sum(), found[key].bias) for key in usable]
        nu = np.array([len(share) - 1.0 for share, _ in parts])
        v = np.array(
            [(share**2 * (x - b) ** 2).sum() for (share, x), b in zip(parts, bias, strict=True)]
        )
        v = v * (nu + 1) / nu
    else:
        nu = np.array([stats.effective_count - 1 for stats in usable.values()])
        v = np.array([stats.error_variance for stats in usable.values()]) / nu
    method, k, nan = "windows" if by_window else "states", len(usable), float("nan")
    if k < 2 or not np.all(v > 0):
        return Welch(f=nan, df1=nan, df2=nan, p_value=nan, method=method)
    w = 1 / v
    g = w / w.sum()
    lost = float(((1 - g) ** 2 / nu).sum())
    between = float((w * (bias - (g * bias).sum()) ** 2).sum()) / (k - 1)
    f = between / (1 + 2 * (k - 2) / (k * k - 1) * lost)
    df2 = (k * k - 1) / (3 * lost)
    return Welch(f=f, df1=k - 1.0, df2=df2, p_value=float(fdtrc(k - 1, df2, f)), method=method)
