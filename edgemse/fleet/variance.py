"""How wrong each group is, and how much of what differs between groups is real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, Table, percent, text
from edgemse.fleet.asked import Asked
from edgemse.fleet.components import Anova, anova, variance_components
from edgemse.fleet.figures import Figures
from edgemse.fleet.merging import merged
from edgemse.fleet.questions import Question
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["QUESTION", "Differences", "VarianceAnswer", "ask", "of_states"]

INDEPENDENT = (
    "standard errors and p-values assume samples that do not depend on each other; errors that"
    " follow each other make them too small"
)


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How the MSE varies between groups (edgemse.fleet.variance_components), and the bias."""

    devices: int
    mean_mse: float
    variance_of_mse: float
    sampling_variance: float
    tau2: float
    i2: float
    q: float
    p_value: float
    anova: Anova


@dataclass(frozen=True, kw_only=True)
class VarianceAnswer(Answer):
    """The figures of each group and of all, and how the groups differ."""

    ROWS: ClassVar[str] = "groups"
    HEADINGS: ClassVar[Mapping[str, str]] = Figures.HEADINGS

    groups: tuple[Figures, ...]
    total: Figures
    variance: Differences

    def table(self) -> Table:
        """Return a line for each group and one for all."""
        words = max(1, len(self.asked.by))
        total = ["total", *[""] * (words - 1)] if self.asked.by else []
        figures = [text(getattr(self.total, name)) for name in self.HEADINGS]
        return super().table()._replace(below=[[*total, *figures]])

    def sentences(self) -> Iterator[str]:
        """Yield how the groups differ."""
        found = self.variance
        if found.devices < 2:
            return
        yield (
            f"MSE between groups by {' and '.join(self.asked.by)}: {found.devices} groups, mean"
            f" {text(found.mean_mse)}, variance {text(found.variance_of_mse)}, of which sampling"
            f" {text(found.sampling_variance)} and real differences {text(found.tau2)}"
            f" ({percent(found.i2)})"
        )
        yield (f"  Are there differences at all? Q = {text(found.q)}, p = {text(found.p_value)}")
        bias = found.anova
        yield (
            f"  Mean error (ANOVA): F({bias.df_between}, {bias.df_within}) = {text(bias.f)},"
            f" p = {text(bias.p_value)}, variance between {text(bias.var_between)}, within"
            f" {text(bias.var_within)}"
        )

    def plot(self) -> plotly.Figure:
        """Return the groups' RMSE."""
        names = [", ".join(group.by.values()) for group in self.groups]
        return charts.dots("RMSE by group", names, [group.rmse for group in self.groups])


def ask(reading: Reading, asked: Asked) -> VarianceAnswer:
    """Compare the errors of groups (devices, unless told otherwise) and split their variance.

    Groups by device, model, version, output, segment, hour_of_day, weekday, or an attribute that
    the devices report.
    """
    return of_states(asked, merged(reading, asked).stats())


def of_states(asked: Asked, groups: Mapping[tuple[str, ...], ErrorStats]) -> VarianceAnswer:
    """Answer from states alone, whose keys are values of `asked.by`."""
    components = variance_components(groups)._asdict()
    return VarianceAnswer(
        asked=asked,
        groups=tuple(
            Figures.of(dict(zip(asked.by, key, strict=True)), stats)
            for key, stats in groups.items()
        ),
        total=Figures.of({}, merge_all(groups.values())),
        variance=Differences(**components, anova=anova(groups)),
        notes=(INDEPENDENT,) if len(groups) > 1 else (),
    )


QUESTION = Question("variance", ask, VarianceAnswer)
