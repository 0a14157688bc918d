"""Do groups differ once other factors are taken out, and what lies inside of them?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from edgemse.errors import SettingsError
from edgemse.fleet.answers import text
from edgemse.fleet.asked import BY_MAX, Asked, Option
from edgemse.fleet.components import Anova, anova
from edgemse.fleet.welch import WINDOWS_MIN
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    from edgemse.fleet.crossing import Crossed
    from edgemse.fleet.windows import Windows

__all__ = ["OPTION", "Beside", "FTest", "Within", "checked", "of_cells", "within"]

Key = tuple[str, ...]
CROSSED, NESTED = "crossed", "nested"
NAN = math.nan
FIGURES_MAX = 3_000_000
"""Cells times levels of the factors: some seconds."""


class FTest(NamedTuple):
    """An F test; NaN: not enough data."""

    f: float
    df1: float
    df2: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Beside:
    """How one figure (log MSE, or mean error) differs between groups beside the factors."""

    cells: int
    """Cells that have enough samples for it."""
    somewhere: FTest
    """Beyond sampling noise, in one level of the factors at least; NaN where these are nested."""
    on_average: FTest
    """Beyond what groups differ by from level to level; NaN where that is not seen (each group in
    one level)."""
    spread: float
    """One standard deviation between groups: in percent of RMSE, or in the unit of the label."""
    low: float
    """Its 95 % interval; NaN where `on_average` is."""
    high: float
    tau2: float
    """The variance between groups: of log MSE, or of the mean error; clamped at 0."""
    tau2_unclamped: float


@dataclass(frozen=True, kw_only=True)
class Within:
    """What is left of the groups' differences beside factors, by cells: group times levels."""

    factors: tuple[str, ...]
    method: str
    """ "crossed": the factors are removed; "nested": each level lies in one group, and levels are
    what a group consists of; "": they cannot be told apart."""
    groups: int
    cells: int
    sets: int
    """Groups are compared inside of a set: sets have no level of a factor in common."""
    one_way: Anova
    """The same analysis as if there were no factors."""
    var_nested: float
    """Nested: variance of the mean error between levels of one group, clamped at 0; else NaN."""
    var_nested_unclamped: float
    mse: Beside
    bias: Beside

    def sentences(self) -> Iterator[str]:
        """Yield what was found, in words."""
        if not self.method:
            return
        names = " and ".join(self.factors)
        what = f"With {names} removed" if self.method == CROSSED else f"With {names} as the unit"
        for name, each, unit in (("MSE", self.mse, " % RMSE"), ("mean error", self.bias, "")):
            parts = []
            if not math.isnan(each.on_average.f):
                parts.append(f"on average: {_words(each.on_average)}")
            if not math.isnan(each.somewhere.f):
                parts.append(f"beyond chance: {_words(each.somewhere)}")
            if not math.isnan(each.spread):
                span = f" (95 %: {text(each.low)} to {text(each.high)})"
                known = span if not math.isnan(each.low) else ""
                parts.append(f"by about ±{text(each.spread)}{unit}{known}")
            if parts:
                yield f"{what}, do groups differ in {name}? {'; '.join(parts)}"


def _words(test: FTest) -> str:
    return f"F({text(test.df1)}, {text(test.df2)}) = {text(test.f)}, p = {text(test.p_value)}"


def checked(asked: Asked) -> tuple[str, ...]:
    """Return the factors that are asked for; SettingsError if one is a group column too."""
    factors: tuple[str, ...] = asked.options["within"]
    columns = (*asked.by, *factors)
    if len(set(columns)) < len(columns) or len(columns) > BY_MAX:
        raise SettingsError(
            f"within {', '.join(factors)}, by {', '.join(asked.by)}: wanted up to {BY_MAX}"
            " columns, each once: those to compare in by, those to remove in within"
        )
    return factors


def within(
    reading: Reading, asked: Asked, factors: tuple[str, ...]
) -> tuple[Within, Anova, tuple[str, ...]]:
    """Return what `of_cells` does of the cells that are asked for."""
    from edgemse.fleet.merging import merged
    from edgemse.fleet.windows import windows_of

    one = replace(asked, by=(*asked.by, *factors))
    cells = merged(reading, one).stats()
    windows = windows_of(reading, one, len(cells))[1]
    blind = not _long(windows) and _long(windows_of(reading, asked, len(cells))[1])
    return of_cells(cells, factors, windows, blind=blind)


def _long(windows: Mapping[Key, Windows]) -> bool:
    """Whether any has enough windows to show its noise."""
    return any(len(each.mse) >= WINDOWS_MIN for each in windows.values())


def of_cells(
    cells: Mapping[Key, ErrorStats],
    factors: tuple[str, ...],
    windows: Mapping[Key, Windows] | None = None,
    *,
    blind: bool = False,
) -> tuple[Within, Anova, tuple[str, ...]]:
    """Return how groups differ beside factors, the analysis of variance so, and notes.

    A cell's key is its group's, then the level of each factor. Two things are asked: of the MSE on
    the log scale, and of the mean error (edgemse.fleet.crossing); and the classical table of the
    mean error (anova_beside). `blind`: groups have the windows that would show how errors follow
    each other, no cell has; then neither of the two can be told.
    """
    from edgemse.fleet.beside import anova_beside, beside

    count = len(factors)
    used = {key: stats for key, stats in cells.items() if stats.count}
    groups = {key[:-count] for key in used}
    method, sets, notes = _method(used, factors)
    one_way = anova(_merged(used, count))
    if not method:
        table = Anova(NAN, NAN, 0, 0, *[NAN] * 5)
        figures = {"mse": _nothing(), "bias": _nothing()}
        nested_in = NAN
    else:
        nested = method == NESTED
        table, nested_in = anova_beside(used, count, nested=nested)
        figures = {
            name: _said(*beside(used, windows, count, squared=name == "mse", nested=nested), name)
            for name in ("mse", "bias")
        }
        notes += tuple(_notes(used, figures, sets, factors, table, nested_in))
        notes += () if nested else tuple(_unseen(used, windows or {}, factors, blind))
        if blind:
            figures = {name: _nothing() for name in figures}
    answer = Within(
        factors=factors,
        method=method,
        groups=len(groups),
        cells=len(used),
        sets=sets,
        one_way=one_way,
        var_nested=max(0.0, nested_in) if not math.isnan(nested_in) else NAN,
        var_nested_unclamped=nested_in,
        **figures,
    )
    return answer, table, notes


def _unseen(
    cells: Mapping[Key, ErrorStats],
    windows: Mapping[Key, Windows],
    factors: tuple[str, ...],
    blind: bool,
) -> Iterator[str]:
    """Yield what is not beside the factors, and of how many cells no windows show the noise."""
    few = sum(key not in windows or len(windows[key].mse) < WINDOWS_MIN for key in cells)
    names = " and ".join(factors)
    yield f"the groups' own figures, ratios and flags still have {names} in them"
    if blind:
        yield (
            f"not enough data beside {names}: none of {few:,} cells has ten windows that could show"
            " how errors follow each other; take a factor of fewer levels, or a longer time"
        )
    elif few == len(cells):
        yield (
            f"beside {names}, p-values and intervals assume samples that do not depend on each"
            f" other (none of {few:,} cells has ten windows that could show it); errors that follow"
            " each other make them too small"
        )
    elif few:
        yield (
            f"beside {names}, {few:,} of {len(cells):,} cells have too few windows: their noise is"
            " that of independent samples times the design effect of the others"
        )


def _merged(cells: Mapping[Key, ErrorStats], count: int) -> dict[Key, ErrorStats]:
    found: dict[Key, ErrorStats] = {}
    for key, stats in cells.items():
        found.setdefault(key[:-count], ErrorStats()).merge(stats)
    return found


def _method(
    cells: Mapping[Key, ErrorStats], factors: tuple[str, ...]
) -> tuple[str, int, tuple[str, ...]]:
    """Return how factors stand to groups, in how many sets groups fall, and why nothing is said."""
    from edgemse.fleet.beside import layout_of

    names, count = " and ".join(factors), len(factors)
    if len({key[:-count] for key in cells}) < 2:
        return "", 0, ()
    levels = sum(len({key[place] for key in cells}) for place in range(-count, 0))
    if levels * len(cells) > FIGURES_MAX:
        why = f"{len(cells):,} cells with {levels:,} levels of {names} are too many to remove"
        return "", 0, (f"{why}; choose cells, or a factor of fewer levels",)
    groups: dict[str, set[Key]] = {}
    for key in cells:
        groups.setdefault(key[-1], set()).add(key[:-count])
    if count == 1 and all(len(each) == 1 for each in groups.values()):
        if len(cells) > len(set().union(*groups.values())):
            return NESTED, 1, ()
        return "", 0, (f"not enough data: each group has one {names}, and no other has it",)
    layout = layout_of(cells, count)
    if layout.rank < 1:
        why = f"not enough data: groups have no {names} in common: what differs may be either"
        return "", 0, (f"{why} (a factor that lies inside of groups is asked for alone)",)
    return CROSSED, layout.groups - layout.rank, ()


def _said(found: Crossed, cells: int, name: str) -> Beside:
    def spread(tau2: float) -> float:
        deviation = math.sqrt(tau2) if tau2 >= 0 else NAN
        return 100 * math.expm1(deviation / 2) if name == "mse" else deviation

    return Beside(
        cells=cells,
        somewhere=FTest(*found.somewhere),
        on_average=FTest(*found.on_average),
        spread=spread(found.tau2),
        low=spread(found.low),
        high=spread(found.high),
        tau2=found.tau2,
        tau2_unclamped=found.unclamped,
    )


def _nothing() -> Beside:
    none = FTest(*[NAN] * 4)
    figures = dict.fromkeys(("spread", "low", "high", "tau2", "tau2_unclamped"), NAN)
    return Beside(cells=0, somewhere=none, on_average=none, **figures)


def _notes(
    cells: Mapping[Key, ErrorStats],
    found: Mapping[str, Beside],
    sets: int,
    factors: tuple[str, ...],
    table: Anova,
    nested: float,
) -> Iterator[str]:
    names = " and ".join(factors)
    if sets > 1:
        yield f"groups fall into {sets} sets that share no {names}: compared inside of a set only"
    for name, each in (("MSE", found["mse"]), ("mean error", found["bias"])):
        left_out = len(cells) - each.cells
        if math.isnan(each.tau2):
            yield f"not enough data: {name} beside {names}, from {each.cells} of {len(cells)} cells"
        elif left_out:
            some = f"{left_out} of {len(cells)} cells have too few samples"
            yield f"{some}: left out of {name} beside {names}"
        if each.tau2_unclamped < 0:
            yield (
                f"the variance of {name} beside {names} comes out below 0"
                f" ({each.tau2_unclamped:.6g}) and is reported as 0"
            )
    if table.var_between_unclamped < 0:
        yield (
            f"ANOVA's component between groups beside {names} comes out below 0"
            f" ({table.var_between_unclamped:.6g}), reported as 0"
        )
    if nested < 0:
        yield f"ANOVA's component of {names} comes out below 0 ({nested:.6g}), reported as 0"


OPTION = Option(
    "within",
    "A factor to take out, such as version; may be repeated.",
    str,
    (),
    "FACTOR",
    many=True,
)
