"""Error budgets: how fast one burns, and when that is too fast. Pure arithmetic on counts.

The budget of a target is the share that may be bad, 1 - target. A burn of 1 uses it up in exactly
one period. A long window says that it matters, a short one beside it that it still goes on.

Source: Google, The Site Reliability Workbook (2018), chapter 5, "Alerting on SLOs".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "EXPECTED_MIN",
    "PAGE",
    "PAIRS",
    "SPANS",
    "TICKET",
    "Counted",
    "Pair",
    "budget_left",
    "burn",
    "factor",
    "judge",
]

PAGE, TICKET = "page", "ticket"
SPANS = {
    "5m": 300,
    "30m": 1_800,
    "1h": 3_600,
    "2h": 7_200,
    "6h": 21_600,
    "1d": 86_400,
    "3d": 259_200,
}
"""Seconds of the windows that a burn is told for."""
EXPECTED_MIN = 5.0
"""Bad ones that a burn at its factor leaves in the long window, below which it is not judged: one
sample more or less would decide (figures in docs/objectives.md)."""
HOURS = 24
SHORT_PERIOD_DAYS = 14
"""Periods below this take the shares of seven days."""


class Pair(NamedTuple):
    """A long window with the short one beside it, and whom it is for."""

    long: str
    short: str
    severity: str
    percent: float
    """Of the budget of a month that is gone when the long window burns at its factor."""
    percent_of_week: float
    """The same of the budget of a week, where the windows are a larger part of the period."""

    @property
    def name(self) -> str:
        """The long window and the short one: 1h/5m."""
        return f"{self.long}/{self.short}"


# Percentages of a month: the workbook's table 5-8. Of a week: Sloth's windows for seven days.
PAIRS = {
    each.name: each
    for each in (
        Pair("1h", "5m", PAGE, 2.0, 8.0),
        Pair("6h", "30m", PAGE, 5.0, 12.5),
        Pair("1d", "2h", TICKET, 10.0, 20.0),
        Pair("3d", "6h", TICKET, 10.0, 42.0),
    )
}
"""From the fastest to the slowest."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was good of how many; `low` and `high` are what is certain of `good`."""

    good: float = 0.0
    low: float = 0.0
    high: float = 0.0
    total: int = 0

    @property
    def share(self) -> float:
        """The share that is good; NaN of nothing."""
        return self.good / self.total if self.total else math.nan


def factor(pair: Pair, period_days: int) -> float:
    """Return the burn from which a pair raises an alert.

    >>> [round(factor(pair, 30), 9) for pair in PAIRS.values()]
    [14.4, 6.0, 3.0, 1.0]
    """
    percent = pair.percent if period_days >= SHORT_PERIOD_DAYS else pair.percent_of_week
    return percent * period_days * HOURS * 3_600 / (100 * SPANS[pair.long])


def burn(counted: Counted, budget: float) -> float:
    """Return how many times faster than evenly over a period the budget goes; NaN of nothing.

    >>> round(burn(Counted(980.0, 980.0, 980.0, 1_000), 0.01), 9)
    2.0
    """
    return (1 - counted.share) / budget


def budget_left(counted: Counted, budget: float) -> float:
    """Return the share of the budget that is left: 1 untouched, below 0 overdrawn; NaN of nothing.

    >>> round(budget_left(Counted(995.0, 995.0, 995.0, 1_000), 0.01), 9)
    0.5
    """
    return 1 - burn(counted, budget)


def judge(
    pair: Pair, period_days: int, budget: float, spans: Mapping[str, Counted | None]
) -> bool | None:
    """Tell whether both windows burn faster than the pair's factor; None: not enough data.

    Args:
        pair: the windows.
        period_days: of the objective.
        budget: 1 - target.
        spans: what was counted in each window; None where it cannot be told apart.
    """
    long, short = spans[pair.long], spans[pair.short]
    most = factor(pair, period_days)
    if long is None or short is None or long.total * budget * most < EXPECTED_MIN:
        return None
    # NaN, of a short window with nothing in it, is no burn.
    return burn(long, budget) > most and burn(short, budget) > most
