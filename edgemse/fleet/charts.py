"""Pictures of answers, drawn with Plotly; it is imported when one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["dots", "line"]


def dots(
    title: str,
    names: Sequence[str],
    values: Sequence[float],
    *,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    marked: Sequence[bool] | None = None,
    unit: str = "RMSE",
) -> plotly.Figure:
    """Return a dot for each name, with its interval; what is marked is red."""
    import plotly.graph_objects as plotly

    colours = ["crimson" if mark else "steelblue" for mark in marked or [False] * len(names)]
    error = _error(values, low, high)
    figure = plotly.Figure(
        plotly.Scatter(
            x=list(values),
            y=list(names),
            mode="markers",
            marker={"color": colours, "size": 9},
            error_x=error,
        )
    )
    return figure.update_layout(title=title, xaxis_title=unit, yaxis={"autorange": "reversed"})


def line(
    title: str,
    times: Sequence[str],
    values: Sequence[float],
    *,
    low: Sequence[float],
    high: Sequence[float],
    changes: Sequence[str] = (),
    unit: str = "RMSE",
) -> plotly.Figure:
    """Return values over time in their interval, with a line where something changed."""
    import plotly.graph_objects as plotly

    figure = plotly.Figure(
        [
            plotly.Scatter(x=[*times], y=[*high], mode="lines", line={"width": 0}, name="high"),
            plotly.Scatter(
                x=[*times], y=[*low], mode="lines", line={"width": 0}, fill="tonexty", name="low"
            ),
            plotly.Scatter(
                x=[*times],
                y=[*values],
                mode="lines+markers",
                line={"color": "steelblue"},
                name=unit,
            ),
        ]
    )
    for change in changes:
        figure.add_vline(x=change, line={"color": "crimson", "dash": "dash"})
    return figure.update_layout(title=title, yaxis_title=unit, showlegend=False)


def _error(
    values: Sequence[float], low: Sequence[float] | None, high: Sequence[float] | None
) -> dict[str, object] | None:
    if low is None or high is None:
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [top - value for top, value in zip(high, values, strict=True)],
        "arrayminus": [value - bottom for value, bottom in zip(values, low, strict=True)],
    }
