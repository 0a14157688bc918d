"""Are the promises kept? Budgets that are left, how fast they burn, and whom that should tell."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, percent
from edgemse.fleet.asked import Asked
from edgemse.fleet.burning import (
    PAGE,
    PAIRS,
    SPANS,
    TICKET,
    Counted,
    Pair,
    budget_left,
    burn,
    factor,
    judge,
)
from edgemse.fleet.goods import PERIOD, Goods, goods_of
from edgemse.fleet.promised import OPTION, Objective, read_objectives
from edgemse.fleet.questions import Question
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = [
    "ABSENT",
    "BURNING",
    "EXHAUSTED",
    "HELD",
    "NOT_ENOUGH",
    "OK",
    "QUESTION",
    "ObjectiveRow",
    "ObjectivesAnswer",
    "PairBurn",
    "ask",
    "row_of",
]

OK, BURNING, EXHAUSTED = "ok", "burning", "exhausted"
NOT_ENOUGH, ABSENT, HELD = "not enough data", "absent", "held"


@dataclass(frozen=True, kw_only=True)
class PairBurn:
    """What one pair of windows says."""

    windows: str
    """ "1h/5m"."""
    factor: float
    """The burn from which it raises an alert."""
    severity: str
    """ "page" or "ticket"."""
    burning: bool | None
    """Both windows burn faster; None: not enough data."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveRow:
    """One objective in one group."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "name": "objective",
        "state": "state",
        "raises": "raises",
        "share": "good",
        "target": "target",
        "budget_left": "budget left",
        "burning": "burning",
        "total": "of",
        "certain": "good for certain",
        "owner": "owner",
        "runbook": "runbook",
    }

    name: str
    by: Mapping[str, str]
    kind: str
    target: float
    period_days: int
    good: float
    """How many were good in the period; a fraction where a tolerance lies inside a bucket."""
    good_low: float
    """So many were good for certain."""
    good_high: float
    """At most so many were."""
    certain: str | None
    """Both in words; None where the count is exact."""
    total: int
    """Samples, windows or predictions that were counted in the period."""
    share: float
    """Good of all; NaN of nothing."""
    budget_left: float
    """Of the period's budget: 1 untouched, 0 used up, below 0 overdrawn; NaN of nothing."""
    burn: Mapping[str, float]
    """By window: how many times faster than evenly the budget goes; NaN: nothing to count."""
    counted: Mapping[str, int]
    """By window: of how many."""
    pairs: tuple[PairBurn, ...]
    burning: str
    """The pairs that burn, the fastest first; empty: none."""
    raises: str
    """ "page", "ticket" or empty: whom the pairs that burn should tell."""
    state: str
    """ "ok", "burning", "exhausted", "not enough data", "absent" or "held"."""
    held_by: str
    """The objective whose labels are late, so that this one's figures are provisional; or empty."""
    severity: str
    """The highest that the objective may raise."""
    owner: str
    runbook: str
    tolerance: float
    """At which |e| was counted; NaN for other kinds."""


@dataclass(frozen=True, kw_only=True)
class ObjectivesAnswer(Answer):
    """The objectives in the file's order, each by its groups."""

    ROWS: ClassVar[str] = "objectives"
    HEADINGS: ClassVar[Mapping[str, str]] = ObjectiveRow.HEADINGS
    WORDS: ClassVar[Collection[str]] = ("name", "state", "raises", "burning", "owner", "runbook")
    IF_KNOWN: ClassVar[frozenset[str]] = frozenset({"certain"})

    objectives: tuple[ObjectiveRow, ...]

    def sentences(self) -> Iterator[str]:
        """Yield which budgets burn, are used up, or have nothing to count."""
        # A guard that counts nothing may be late, or about a model that nobody has.
        late = {row.name for row in self.objectives if row.state == BURNING}
        for row in self.objectives:
            if row.state == BURNING:
                yield (
                    f"{_called(row)}: burns too fast over {row.burning}: {row.raises} for"
                    f" {row.owner}{f', {row.runbook}' if row.runbook else ''}"
                )
            elif row.state == EXHAUSTED:
                yield f"{_called(row)}: the budget of {row.period_days} days is used up"
            elif row.state == ABSENT:
                yield f"{_called(row)}: absent: nothing was counted lately, which is not good news"
            elif row.state == HELD:
                guard = row.held_by
                why = f"labels are late, says {guard}" if guard in late else f"{guard} is absent"
                yield f"{_called(row)}: held: {why}; raises nothing"

    def alarm(self) -> str:
        """Return which budgets burn; empty: none."""
        burning = [_called(row) for row in self.objectives if row.state == BURNING]
        return f"objectives: burning too fast: {'; '.join(burning)}" if burning else ""

    def plot(self) -> plotly.Figure:
        """Return the budgets that are left; those that burn are red."""
        return charts.dots(
            "Budget left",
            [_called(row) for row in self.objectives],
            [row.budget_left for row in self.objectives],
            marked=[row.state == BURNING for row in self.objectives],
            unit="share of the budget",
        )

    def _by(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for row in self.objectives for column in row.by))

    def _line(self, row: ObjectiveRow, by: Sequence[str], now: float | None) -> list[str]:
        line = dict(zip(self._headings, super()._line(row, (), now), strict=True))
        line |= {name: percent(getattr(row, name), 2) for name in ("share", "target")}
        line["budget_left"] = percent(row.budget_left)
        return [*(row.by.get(name, "") for name in by), *line.values()]


def ask(reading: Reading, asked: Asked) -> ObjectivesAnswer:
    """Say what is left of each objective's error budget, and whether it burns too fast.

    Objectives come from a TOML file (--objectives): a share of small errors, an RMSE or a cost
    window by window, or labels that came. Budgets and burns end now, or at --until.

    A burn is judged over a long and a short window at once, and only where a burn at its factor is
    five bad ones or more.
    """
    rows: list[ObjectiveRow] = []
    notes: list[str] = []
    objectives = read_objectives(asked)
    for objective in objectives:
        selected = objective.selected(asked)
        if selected is None:
            notes.append(
                f"{objective.name}: left out: it is about other cells than those asked for"
            )
            continue
        goods = goods_of(reading, selected, objective)
        notes += [*goods.notes, *_too_coarse(objective, goods), *_tolerance(objective)]
        if not goods.groups:
            rows.append(row_of(objective, {}, _nothing(), recent=False))
        for key, spans in sorted(goods.groups.items()):
            by = dict(zip(selected.by, key, strict=True))
            rows.append(row_of(objective, by, spans, recent=goods.newest[key]))
    held = {each.name: each.held_by for each in objectives if each.held_by}
    rows = [_held(row, rows, held.get(row.name)) for row in rows]
    return ObjectivesAnswer(asked=asked, objectives=tuple(rows), notes=tuple(notes))


def _held(row: ObjectiveRow, rows: Sequence[ObjectiveRow], guard: str | None) -> ObjectiveRow:
    """Return the row, raising nothing where labels are late: where the columns of both agree."""
    late = any(
        each.name == guard
        and each.state in (BURNING, ABSENT)
        and all(row.by.get(column, value) == value for column, value in each.by.items())
        for each in rows
    )
    return replace(row, state=HELD, raises="", held_by=guard) if guard and late else row


def row_of(
    objective: Objective,
    by: Mapping[str, str],
    spans: Mapping[str, Counted | None],
    *,
    recent: bool,
) -> ObjectiveRow:
    """Return the row of one group from what was counted in each span.

    `recent`: whether there was something to count within `absent_after_seconds`.
    """
    whole = spans[PERIOD] or Counted()
    budget = objective.budget
    burns = {name: math.nan if (c := spans[name]) is None else burn(c, budget) for name in SPANS}
    pairs = tuple(
        _judged(objective, PAIRS[name], spans) for name in PAIRS if name in objective.burn
    )
    raised = [pair for pair in pairs if pair.burning]
    left = budget_left(whole, budget)
    if not recent:
        state = ABSENT
    elif raised:
        state = BURNING
    elif left <= 0:
        state = EXHAUSTED
    elif all(pair.burning is None for pair in pairs):
        state = NOT_ENOUGH
    else:
        state = OK
    severities = {pair.severity for pair in raised} if state == BURNING else set()
    return ObjectiveRow(
        name=objective.name,
        by=by,
        kind=objective.kind,
        target=objective.target,
        period_days=objective.period_days,
        good=whole.good,
        good_low=whole.low,
        good_high=whole.high,
        certain=_certain(whole),
        total=whole.total,
        share=whole.share,
        budget_left=left,
        burn=burns,
        counted={name: (spans[name] or Counted()).total for name in SPANS},
        pairs=pairs,
        burning=", ".join(pair.windows for pair in raised) if state == BURNING else "",
        raises=next((each for each in (PAGE, TICKET) if each in severities), ""),
        state=state,
        held_by="",
        severity=objective.severity,
        owner=objective.owner,
        runbook=objective.runbook,
        tolerance=objective.counted_tolerance if objective.kind == "share" else math.nan,
    )


def _judged(objective: Objective, pair: Pair, spans: Mapping[str, Counted | None]) -> PairBurn:
    return PairBurn(
        windows=pair.name,
        factor=factor(pair, objective.period_days),
        severity=pair.severity if objective.severity == PAGE else TICKET,
        burning=judge(pair, objective.period_days, objective.budget, spans),
    )


def _certain(counted: Counted) -> str | None:
    if counted.low == counted.high:
        return None
    return f"{int(counted.low):,} to {int(counted.high):,}"


def _nothing() -> dict[str, Counted | None]:
    return dict.fromkeys((*SPANS, PERIOD), Counted())


def _called(row: ObjectiveRow) -> str:
    groups = ", ".join(f"{name} {value or chr(39) * 2}" for name, value in row.by.items())
    return f"{row.name} ({groups})" if groups else row.name


def _too_coarse(objective: Objective, goods: Goods) -> Iterator[str]:
    """Yield which pairs cannot be judged because cells, or windows, are too wide for them."""
    own = objective.window_seconds if objective.kind in ("rmse", "cost") else 0
    width = max(own, goods.width_seconds)
    blind = [name for name in objective.burn if SPANS[PAIRS[name].short] < width]
    if blind and goods.groups:
        yield (
            f"{objective.name}: {', '.join(blind)} cannot be judged: windows are {width:,} s wide;"
            " let devices keep narrower ones, or take these pairs out of burn"
        )


def _tolerance(objective: Objective) -> Iterator[str]:
    if objective.kind != "share":
        return
    counted = objective.counted_tolerance
    if objective.snap and counted != objective.tolerance:
        yield (
            f"{objective.name}: counted at {counted:.6g}, the bound of a bucket next to"
            f" {objective.tolerance:.6g}: exact there"
        )
    elif not (8 * math.log2(counted)).is_integer():
        yield (
            f"{objective.name}: {counted:.6g} lies inside a bucket: good is interpolated, between"
            " good_low and good_high for certain; snap = true counts exactly at the nearest bound"
        )


QUESTION = Question("objectives", ask, ObjectivesAnswer, by=(), options=(OPTION,), until_now=True)
