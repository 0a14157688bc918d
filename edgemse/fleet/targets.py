"""Which target could be kept? Each objective's history under targets from lax to strict."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, percent
from edgemse.fleet.asked import Asked
from edgemse.fleet.burning import PAIRS, Counted, Pair, budget_left, factor
from edgemse.fleet.goods import Series, series_of
from edgemse.fleet.promised import OPTION, Objective, read_objectives
from edgemse.fleet.questions import Question
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["PAGES_MAX", "QUESTION", "TARGETS", "TargetRow", "TargetsAnswer", "ask"]

TARGETS = (0.5, 0.8, 0.9, 0.95, 0.975, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)
MONTH_DAYS = 28
PAGES_MAX = 1.0
"""Of an objective in 28 days of a history in which nothing was wrong: more, and nobody listens."""
LEFT_MIN = 0.25
"""Of a group's budget that its history should leave: the next month is never quite the last one."""
KEPT_MIN = 0.9
"""Of the groups that should keep so much."""
JUDGED_MIN = 0.5
"""Of the time: a target that samples are too few for raises nothing, whatever happens."""
HISTORY_DAYS_MIN = 14
"""A fortnight has every weekday twice."""


@dataclass(frozen=True, kw_only=True)
class TargetRow:
    """One objective with one target, over its history."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "name": "objective",
        "target": "target",
        "suggested": "suggested",
        "present": "present",
        "share": "good",
        "budget_left": "budget left",
        "kept": "groups that keep it",
        "groups": "of",
        "judged": "judged",
        "pages": "pages in 28 d",
        "tickets": "tickets",
        "burn": "burn",
    }

    name: str
    target: float
    suggested: bool
    """The strictest that nine in ten groups keep with a quarter of the budget left, that pages at
    most once in 28 days, and that can be judged most of the time."""
    present: bool
    """The target of the file."""
    share: float
    """Good of all that was counted in the history."""
    budget_left: float
    """Of all groups together, if the history is a period."""
    kept: int
    """Groups that keep it with a quarter of their budget left."""
    groups: int
    judged: float
    """The share of the time in which a pair of windows had enough data, over the groups."""
    pages: float
    """In 28 days, of all groups: false ones, as far as nothing was wrong then."""
    tickets: float
    burn: str
    """The pairs of the objective that this target can reach."""


@dataclass(frozen=True, kw_only=True)
class TargetsAnswer(Answer):
    """The targets of each objective of the file, from lax to strict."""

    ROWS: ClassVar[str] = "targets"
    HEADINGS: ClassVar[Mapping[str, str]] = TargetRow.HEADINGS
    WORDS: ClassVar[Collection[str]] = ("name", "suggested", "present", "burn")

    targets: tuple[TargetRow, ...]

    def sentences(self) -> Iterator[str]:
        """Yield the lines for the file."""
        for row in self.targets:
            if row.suggested:
                pairs = ", ".join(f'"{name}"' for name in row.burn.split(", "))
                yield f"{row.name}: target = {row.target:g}, burn = [{pairs}]"

    def plot(self) -> plotly.Figure:
        """Return the pages of each target; the suggested ones are red."""
        return charts.dots(
            "Pages in 28 days",
            [f"{row.name}, {row.target:g}" for row in self.targets],
            [row.pages for row in self.targets],
            marked=[row.suggested for row in self.targets],
            unit="pages",
        )

    def _by(self) -> tuple[str, ...]:
        return ()

    def _line(self, row: TargetRow, by: Sequence[str], now: float | None) -> list[str]:
        line = dict(zip(self._headings, super()._line(row, by, now), strict=True))
        line |= {"target": f"{100 * row.target:g} %", "share": percent(row.share, 3)}
        line |= {name: percent(getattr(row, name)) for name in ("budget_left", "judged")}
        line |= {name: "yes" * getattr(row, name) for name in ("suggested", "present")}
        line |= {name: f"{getattr(row, name):.1f}" for name in ("pages", "tickets")}
        return [*line.values()]


def ask(reading: Reading, asked: Asked) -> TargetsAnswer:
    """Suggest a first target for each objective of a file, from its history.

    Each target, from lax to strict, is held against the period up to now, or to --until: what would
    be left of the budget, and how many alerts it would have raised. These were false ones as far as
    nothing was wrong.
    """
    rows: list[TargetRow] = []
    notes: list[str] = []
    for objective in read_objectives(asked):
        selected = objective.selected(asked)
        if selected is None:
            notes.append(
                f"{objective.name}: left out: it is about other cells than those asked for"
            )
            continue
        series = series_of(reading, selected, objective)
        found = _rows(objective, series)
        rows += found
        notes += _notes(objective, series, found)
    return TargetsAnswer(asked=asked, targets=tuple(rows), notes=tuple(notes))


def _rows(objective: Objective, series: Series) -> list[TargetRow]:
    if not series.days:
        return []
    rows = []
    candidates = sorted({*TARGETS, objective.target})
    tried = {target: _tried(objective, series, target) for target in candidates}
    fine = [
        target
        for target, row in tried.items()
        if row["kept"] >= KEPT_MIN * row["groups"]
        and row["judged"] >= JUDGED_MIN
        and row["pages"] <= PAGES_MAX
    ]
    for target, row in tried.items():
        rows.append(
            TargetRow(
                name=objective.name,
                target=target,
                suggested=bool(fine) and target == fine[-1],
                present=target == objective.target,
                **row,
            )
        )
    return rows


def _tried(objective: Objective, series: Series, target: float) -> dict[str, Any]:
    from edgemse.fleet.rehearsing import rehearse  # numpy takes 0.1 s

    budget = 1 - target
    pairs = _reached(objective, budget)
    pages = tickets = kept = 0
    bad = total = judged = 0.0
    for bads, totals in series.groups.values():
        own = Counted(good=float(totals.sum() - bads.sum()), total=int(totals.sum()))
        kept += budget_left(own, budget) >= LEFT_MIN
        bad, total = bad + float(bads.sum()), total + float(totals.sum())
        raised = rehearse(
            bads,
            totals,
            step_seconds=series.step_seconds,
            period_days=objective.period_days,
            budget=budget,
            pairs=pairs,
        )
        pages += raised.pages
        tickets += raised.tickets
        judged += raised.judged
    share = 1 - bad / total if total else math.nan
    return {
        "share": share,
        "budget_left": 1 - (1 - share) / budget,
        "kept": kept,
        "groups": len(series.groups),
        "judged": judged / len(series.groups),
        "pages": pages * MONTH_DAYS / series.days,
        "tickets": tickets * MONTH_DAYS / series.days,
        "burn": ", ".join(pair.name for pair in pairs),
    }


def _reached(objective: Objective, budget: float) -> list[Pair]:
    pairs = [PAIRS[name] for name in PAIRS if name in objective.burn]
    return [pair for pair in pairs if factor(pair, objective.period_days) * budget < 1]


def _notes(objective: Objective, series: Series, rows: Sequence[TargetRow]) -> Iterator[str]:
    if not rows:
        yield f"{objective.name}: no history to suggest a target from"
        return
    if series.days < HISTORY_DAYS_MIN:
        yield (
            f"{objective.name}: a history of {series.days:.3g} days; a fortnight shows what"
            " weekdays do"
        )
    if not any(row.suggested for row in rows):
        yield (
            f"{objective.name}: no target is kept by nine in ten groups with at most one page in"
            f" {MONTH_DAYS} days and enough data to judge it; a wider tolerance or limit, slower"
            " pairs in burn, or fewer groups may have one"
        )
    yield (
        f"{objective.name}: alerts are those of {series.days:.3g} days in steps of"
        f" {series.step_seconds:,} s; they are false ones only if nothing was wrong then"
    )


QUESTION = Question("targets", ask, TargetsAnswer, by=(), options=(OPTION,), until_now=True)
