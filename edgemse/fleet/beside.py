"""Cells of groups and factors: the classical table of their mean errors, and the tests of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import fdtrc

from edgemse.fleet.components import Anova
from edgemse.fleet.crossing import Cells, Crossed, Layout, Places, crossed
from edgemse.fleet.homogeneity import NOTHING, moderated, testable
from edgemse.fleet.noise import ERRORS, SQUARES, noise_of
from edgemse.fleet.windows import Numbers, Windows
from edgemse.stats.error_stats import ErrorStats

__all__ = ["anova_beside", "beside", "layout_of"]

Key = tuple[str, ...]
NAN = math.nan


def layout_of(cells: Mapping[Key, ErrorStats], factors: int, *, nested: bool = False) -> Layout:
    """Return the layout of cells by their samples; the last `factors` parts of a key are levels.

    Nested ones are units inside of the groups, and not removed.
    """
    weight = np.array([float(stats.count) for stats in cells.values()])
    return Layout(*_places([*cells], factors, nested), weight)


def _places(keys: Sequence[Key], factors: int, nested: bool) -> tuple[Places, list[Places]]:
    levels = [] if nested else [_numbers([key[at] for key in keys]) for at in range(-factors, 0)]
    return _numbers([key[:-factors] for key in keys]), levels


def _numbers(names: Sequence[str] | Sequence[Key]) -> Places:
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int64)


def anova_beside(
    cells: Mapping[Key, ErrorStats], factors: int, *, nested: bool = False
) -> tuple[Anova, float]:
    """Return the classical analysis of variance of the mean error, with factors taken into account.

    Of N samples in cells of n_c samples with mean b_c and squares m2_c about it. Crossed: the
    additive model of groups and factors; ms_between is of groups after the factors (Type II),
    ms_within of all that is left, interaction included, and var_between = (ms_between - ms_within)
    df_between / k (Henderson III; for a balanced table the usual one). Nested: ms_within is of the
    levels inside of groups, and with it var_between and var_nested by Henderson's method I; then
    var_within is of samples inside of a level.

    It assumes independent samples and equal variances, as `anova` does.

    Returns:
        The table, and var_nested, not clamped; NaN if crossed, or with one sample a level.

    Source: Searle, Casella, McCulloch, Variance Components, 1992, chapter 5.
    """
    layout = layout_of(cells, factors, nested=nested)
    moments = [stats.moments() for stats in cells.values()]
    n = layout.weight
    # About one of them: an offset of 1e12 leaves differences as exact as they are known.
    origin = moments[0]
    b = np.array([(e.mean - origin.mean) + (e.mean_lo - origin.mean_lo) for e in moments])
    m2 = math.fsum((e.m2 + e.m2_lo) * e.count / e.weight for e in moments)
    between, left = layout.squares(b)
    inside, rank = int(n.sum()) - len(n), layout.rank
    ms_between = between / rank
    if not nested:
        freedom = layout.rank_left + inside
        ms_within = (left + m2) / freedom if freedom else NAN
        unclamped = (between - rank * ms_within) / layout.scale
        return _table(rank, freedom, ms_between, ms_within, unclamped, ms_within), NAN
    freedom = layout.rank_left
    ms_within, error = left / freedom, m2 / inside if inside else NAN
    of_group, squares = np.bincount(layout.group, n), np.bincount(layout.group, n**2)
    k12, total = float((squares / of_group).sum()), float(n.sum())
    k1 = (total - k12) / freedom
    k2 = (k12 - float(squares.sum()) / total) / rank
    k_a = (total - float((of_group**2).sum()) / total) / rank
    var_nested = (ms_within - error) / k1
    # One sample a level: levels and samples are both in ms_within, in equal parts if k1 = k2.
    of_levels = ms_within + (k2 - k1) * var_nested if inside else ms_within
    unclamped = (ms_between - of_levels) / k_a
    return _table(rank, freedom, ms_between, ms_within, unclamped, error), var_nested


def _table(
    df_between: int,
    df_within: int,
    ms_between: float,
    ms_within: float,
    unclamped: float,
    var_within: float,
) -> Anova:
    f = ms_between / ms_within if ms_within > 0 else math.inf if ms_between > 0 else NAN
    f = NAN if math.isnan(ms_within) else f
    return Anova(
        f,
        float(fdtrc(df_between, df_within, f)) if not math.isnan(f) else NAN,
        df_between,
        df_within,
        ms_between,
        ms_within,
        max(0.0, unclamped) if not math.isnan(unclamped) else NAN,
        var_within,
        unclamped,
    )


def beside(
    cells: Mapping[Key, ErrorStats],
    windows: Mapping[Key, Windows] | None,
    factors: int,
    *,
    squared: bool,
    nested: bool = False,
) -> tuple[Crossed, int]:
    """Return the tests (crossing.crossed) of log MSE, or of the mean error, and of how many cells.

    Of cells that have enough samples (homogeneity.testable); what is noise is seen from window to
    window where a cell has ten.
    """
    noise = noise_of(cells, windows, about=SQUARES if squared else ERRORS)
    noise = noise.taken(testable(noise) & (noise.mse > 0) & (noise.variance > 0))
    keys = noise.keys
    if len({key[:-factors] for key in keys}) < 2:
        none = (NAN,) * 4
        return Crossed(NOTHING, NOTHING, *none), len(keys)
    relative = noise.count * noise.variance / noise.mse**2
    c2 = moderated(noise)
    steady: Numbers = c2 / noise.count * relative.sum() / c2.sum()
    group, levels = _places(keys, factors, nested)
    y, variance = np.array([cells[key].bias for key in keys]), noise.variance
    if squared:
        # Without its bias; and the variance where the cell's true MSE probably is: between what the
        # factors alone predict and what was seen, by the share of what is seen that is noise.
        y = np.log(noise.mse) + steady / 2
        mu = Layout(group, levels, noise.count).fitted(y)
        real = float((noise.count * ((y - mu) ** 2 - steady)).sum() / noise.count.sum())
        b = float(steady.mean()) / (float(steady.mean()) + max(0.0, real))
        variance = variance / np.exp(2 * (b * mu + (1 - b) * y))
    known = Cells(y, variance, steady, noise.uncertainty, noise.count)
    return crossed(known, group, levels), len(keys)
