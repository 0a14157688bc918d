"""How wrong was each version before it went out? The offline baselines that were set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgemse.fleet import charts
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.questions import Question
from edgemse.fleet.said import Baseline, baselines_of
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["QUESTION", "BaselineAnswer", "BaselineRow", "ask"]

WHO = "SELECT DISTINCT model, version FROM baselines"


@dataclass(frozen=True, kw_only=True)
class BaselineRow:
    """The offline error of one version, or of a part of it."""

    model: str
    version: str
    part: str
    """The part in words, `segment=day`; empty: everything."""
    rmse: float
    low: float
    """95 % interval for independent samples; NaN for a bare figure or under 20 samples."""
    high: float
    count: int | None
    """Samples; None: not known."""
    bare: bool
    """A figure without a state: how sure it is is not known."""
    set_at: str
    """When it was set, in ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class BaselineAnswer(Answer):
    """The baselines, by model, version and part."""

    ROWS: ClassVar[str] = "baselines"
    HEADINGS: ClassVar[Mapping[str, str]] = {
        "model": "model",
        "version": "version",
        "part": "of",
        "rmse": "RMSE",
        "low": "low",
        "high": "high",
        "count": "samples",
        "set_at": "set",
    }
    WORDS: ClassVar[Collection[str]] = ("model", "version", "part", "set_at")

    baselines: tuple[BaselineRow, ...]

    def plot(self) -> plotly.Figure:
        """Return the baselines with their intervals."""
        return charts.dots(
            "RMSE offline",
            [" ".join((row.model, row.version, row.part)).strip() for row in self.baselines],
            [row.rmse for row in self.baselines],
            low=[row.low for row in self.baselines],
            high=[row.high for row in self.baselines],
        )


def ask(reading: Reading, asked: Asked) -> BaselineAnswer:
    """Show the offline baselines: RMSE of the validation run of each version, and of its parts.

    Set one with `edgemse fleet baseline set`; `trend` shows the gap to it, `gate` holds a version
    against it.
    """
    rows = []
    for model, version in sorted(reading.rows(WHO)):
        for each in baselines_of(reading, model, version):
            named = {"model": model, "version": version, **each.by}
            if all(named.get(name, value) == value for name, value in asked.where.items()):
                rows.append(_row(model, version, each))
    notes = () if rows else ("no baseline is set; edgemse fleet baseline set does",)
    return BaselineAnswer(asked=asked, baselines=tuple(rows), notes=notes)


def _row(model: str, version: str, found: Baseline) -> BaselineRow:
    nothing = (float("nan"), float("nan"))
    low, high = nothing if found.stats is None else found.stats.rmse_interval()
    return BaselineRow(
        model=model,
        version=version,
        part=", ".join(f"{name}={value}" for name, value in found.by.items()),
        rmse=found.rmse,
        low=low,
        high=high,
        count=found.count,
        bare=found.stats is None,
        set_at=iso_time(found.set_ms // 1000),
    )


QUESTION = Question("baseline", ask, BaselineAnswer, by=None)
