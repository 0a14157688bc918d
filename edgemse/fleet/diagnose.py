"""What an on-call does in order: labels, version, devices and segments, drift; then what to do."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgemse.errors import UsageError
from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, text
from edgemse.fleet.asked import Asked, Option, iso_time
from edgemse.fleet.diagnosed import FINE, NOT_ENOUGH, TROUBLE, Action, Step
from edgemse.fleet.drift import reference_span
from edgemse.fleet.questions import Question
from edgemse.fleet.selection import select
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["QUESTION", "DiagnoseAnswer", "ask"]

NAMES = "SELECT DISTINCT g1 FROM ({}) AS chosen ORDER BY g1"


@dataclass(frozen=True, kw_only=True)
class DiagnoseAnswer(Answer):
    """The steps in their order, and what to do, the first first."""

    ROWS: ClassVar[str] = "steps"
    HEADINGS: ClassVar[Mapping[str, str]] = Step.HEADINGS
    WORDS: ClassVar[Collection[str]] = HEADINGS

    since: str | None
    """Where "now" begins, in ISO 8601; None: no cell."""
    until: str | None
    """Where it ends."""
    reference: str | None
    """The span of "then", START/END; None: there is none before."""
    began: str
    """Why now begins there: "asked", "change" (of the trend), or "recent" (no change was found)."""
    rmse_then: float
    rmse_now: float
    steps: tuple[Step, ...]
    actions: tuple[Action, ...]
    """At least one; the first is what to do now."""

    def sentences(self) -> Iterator[str]:
        """Yield the findings in their order, and what to do."""
        if self.since is None:
            return
        why = {"change": "the trend changes there", "asked": "as asked", "recent": "the latest"}
        yield (
            f"Now is {self.since} to {self.until} ({why[self.began]}), then is"
            f" {self.reference or 'nothing'}; RMSE {text(self.rmse_then)} then,"
            f" {text(self.rmse_now)} now"
        )
        for each in self.steps:
            yield f"{each.step}. {each.name}: {each.finding}"
        for place, action in enumerate(self.actions):
            start = "Do" if place == 0 else "Then"
            yield f"{start}: {' '.join(filter(None, (action.do, action.what)))} ({action.why})"

    def plot(self) -> plotly.Figure:
        """Return the steps; those that found trouble are red."""
        at = {FINE: 0.0, TROUBLE: 1.0, NOT_ENOUGH: math.nan}
        return charts.dots(
            f"{self.actions[0].do} {self.actions[0].what}",
            [each.name for each in self.steps],
            [at[each.verdict] for each in self.steps],
            marked=[each.verdict == TROUBLE for each in self.steps],
            unit="0: fine, 1: trouble",
        )


def ask(reading: Reading, asked: Asked) -> DiagnoseAnswer:
    """Go through the on-call's steps for one model, and say what the figures support.

    Are labels fresh? Which version is worse? Which devices and segments? Did labels, features or
    the scale drift? Then: wait, roll back, look at a device, retrain, or nothing is wrong. "Now" is
    from --since, or from the last change of the trend, or the latest two days; it is compared with
    --reference, or with seven times as long before it. Every verdict is that of a test of another
    question.
    """
    from edgemse.fleet.acting import actions_of
    from edgemse.fleet.spans import spans_of
    from edgemse.fleet.triage import Triage

    _one_model(reading, asked)
    spans = spans_of(reading, asked)
    if spans is None:
        nothing = Action(do="wait", what="", why="no cell is what was asked for")
        return DiagnoseAnswer(
            asked=asked,
            since=None,
            until=None,
            reference=None,
            began="asked",
            rmse_then=math.nan,
            rmse_now=math.nan,
            steps=(),
            actions=(nothing,),
        )
    found = Triage(reading, asked, spans)
    return DiagnoseAnswer(
        asked=asked,
        since=iso_time(spans.since),
        until=iso_time(spans.until),
        reference=spans.reference,
        began=spans.began,
        rmse_then=found.rmse_then,
        rmse_now=found.rmse_now,
        steps=found.steps,
        actions=tuple(actions_of(found)),
        notes=(*found.notes(), *_outputs(reading, asked)),
    )


def _one_model(reading: Reading, asked: Asked) -> None:
    names = _names(reading, asked, "model")
    if len(names) > 1:
        raise UsageError(f"diagnose: wanted one model, one of {', '.join(names)}")


def _outputs(reading: Reading, asked: Asked) -> Iterator[str]:
    names = _names(reading, asked, "output")
    if len(names) > 1:
        yield f"{len(names)} outputs are taken together; ask for one, of {', '.join(names)}"


def _names(reading: Reading, asked: Asked, column: str) -> list[str]:
    selection = select(reading, asked, by=(column,))
    rows = reading.rows(NAMES.format(selection.sql), selection.parameters)
    return [name or chr(39) * 2 for (name,) in rows]


QUESTION = Question(
    "diagnose",
    ask,
    DiagnoseAnswer,
    by=None,
    options=(
        Option("reference", "The span to compare with: START/END.", reference_span, metavar="T/T"),
    ),
)
