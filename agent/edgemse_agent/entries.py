"""What pairing knows of an id: predictions that wait, labels that came first, what was joined."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from edgemse.cells import Series

__all__ = ["Entry", "Label", "Prediction", "Where"]

Where = tuple[str | None, str | None, str | None, str | None]
"""Model, version, output and segment; None means whatever there is."""


class Prediction(NamedTuple):
    """What a model said; `time` is seconds since 1970-01-01 UTC and decides the window.

    `loss` is the measure that its pair adds to beside the error, or empty; `interval` the (lower,
    upper) that it gave, if any.
    """

    y_pred: float
    weight: float
    time: float
    loss: str = ""
    interval: tuple[float, float] | None = None


class Label(NamedTuple):
    """What came true; None in `where` fits any model, version, output, segment."""

    y_true: float
    time: float
    where: Where

    def fits(self, series: Series) -> bool:
        """Tell whether the label is about this series, whatever its measure."""
        model, version, output, segment = self.where  # one by one: a loop costs five times as much
        return (
            (output is None or output == series[2])
            and (segment is None or segment == series[3])
            and (version is None or version == series[1])
            and (model is None or model == series[0])
        )


class Entry(msgspec.Struct, array_like=True):
    """All that is known of one id. `born` is on the agent's accumulated clock, in seconds."""

    born: float
    pending: list[tuple[Series, Prediction]] = []
    early: list[Label] = []
    matched: list[tuple[Series, float, Label]] = []
    """Series, prediction time and label of what was joined: tells repeated labels, and is the
    answer for a series whose prediction comes after its label was used."""
