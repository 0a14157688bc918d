"""A history played through the rules of burns: the alerts that it would have raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgemse.fleet.burning import EXPECTED_MIN, PAGE, SPANS, Pair, factor

__all__ = ["Rehearsed", "rehearse"]


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How often the rules would have begun to raise an alert, and how often they could have."""

    pages: int
    tickets: int
    judged: float
    """The share of steps at which a pair had enough data."""


def rehearse(
    bad: NDArray[np.float64],
    total: NDArray[np.float64],
    *,
    step_seconds: int,
    period_days: int,
    budget: float,
    pairs: Sequence[Pair],
) -> Rehearsed:
    """Judge each pair at the end of every step, as `burning.judge` does, and count the beginnings.

    Args:
        bad: how many were bad in each step, none left out.
        total: of how many.
        step_seconds: how long a step is. Pairs with a shorter window are not judged.
        period_days: of the objective.
        budget: 1 - target.
        pairs: those that are judged.
    """
    raised = {True: np.zeros(len(bad), bool), False: np.zeros(len(bad), bool)}
    judged = np.zeros(len(bad), bool)
    bads, totals = (np.concatenate([[0.0], np.cumsum(each)]) for each in (bad, total))

    def window(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        end = np.arange(1, len(bad) + 1)
        begin = np.maximum(0, end - SPANS[name] // step_seconds)
        return bads[end] - bads[begin], totals[end] - totals[begin]

    for pair in pairs:
        if SPANS[pair.short] < step_seconds:
            continue
        most = factor(pair, period_days) * budget
        (long_bad, long_total), (short_bad, short_total) = window(pair.long), window(pair.short)
        # As products: an empty window has no share, and does not burn.
        burns = (long_bad > most * long_total) & (short_bad > most * short_total)
        enough = long_total * most >= EXPECTED_MIN
        raised[pair.severity == PAGE] |= burns & enough
        judged |= enough
    return Rehearsed(_beginnings(raised[True]), _beginnings(raised[False]), float(judged.mean()))


def _beginnings(raised: NDArray[np.bool_]) -> int:
    return int((raised & ~np.concatenate([[False], raised[:-1]])).sum())
