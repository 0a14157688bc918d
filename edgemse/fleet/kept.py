"""The design effect of windows that are no more: what retention has kept of them."""

from __future__ import annotations

from dataclasses import dataclass

from edgemse.fleet.asked import SHORTHANDS, Asked
from edgemse.stores.base import Reading

__all__ = ["Kept", "kept_of"]

SUMS = (
    "SELECT CAST(sum(windows) AS BIGINT), sum(window_variance), sum(sample_variance),"
    " sum(products), sum(squares) FROM dependence"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """Of all windows together, each held against the others of its hour or day."""

    windows: int
    design_effect: float
    """How much larger the variance of an MSE is than if samples were independent; at least 1."""
    autocorrelation: float
    """Of neighbouring windows' MSE; 0 where nothing varies."""


def kept_of(reading: Reading, asked: Asked) -> Kept | None:
    """Return what is kept of the windows that are asked for; None: nothing.

    Of what `asked` names of attributes nothing is left out: it is a pooled figure of these series.
    """
    where = {name: value for name, value in asked.where.items() if name in SHORTHANDS}
    conditions: dict[str, object] = {f"{name} = ?": value for name, value in where.items()}
    bounds = {"window_start_seconds >= ?": asked.since, "window_start_seconds < ?": asked.until}
    conditions |= {text: bound for text, bound in bounds.items() if bound is not None}
    sql = SUMS + (" WHERE " + " AND ".join(conditions) if conditions else "")
    ((windows, seen, independent, products, squares),) = reading.rows(sql, [*conditions.values()])
    if not windows or not independent > 0:
        return None
    follow = products / squares if squares > 0 else 0.0
    return Kept(windows, max(1.0, seen / independent), follow)
