"""The questions: each is one file of this folder, and one line here.

A file `name.py` has a `QUESTION`; the command `edgemse fleet name`, the HTTP route `/api/v1/name`
and `edgemse.fleet.ask(source, "name")` are made from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from edgemse.errors import SettingsError
from edgemse.fleet.across import across, coarsened
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import Asked, Option, iso_time
from edgemse.fleet.merging import Noting
from edgemse.fleet.selection import select
from edgemse.stores.base import Reading

__all__ = ["NAMES", "Question", "answer", "find", "questions"]

NAMES = (
    "devices",
    "variance",
    "segments",
    "trend",
    "compare",
    "drift",
    "objectives",
    "targets",
    "diagnose",
    "gate",
    "baseline",
    "versions",
)
ANY = "SELECT 1 FROM ({}) AS chosen LIMIT 1"


@dataclass(frozen=True, slots=True)
class Question:
    """A question: how it is answered, by what type of answer, and what it may be told.

    `by` is what it groups by unless asked, None if it does not group. The docstring of `ask` is
    its help.
    """

    name: str
    ask: Callable[[Reading, Asked], Answer]
    answer: type[Answer]
    by: tuple[str, ...] | None = ("device",)
    options: tuple[Option, ...] = ()
    until_now: bool = False
    """Whether it is about the time up to now, unless it is told another end."""

    def parse(self, parameters: Mapping[str, Sequence[str]], *, now: float) -> Asked:
        """Read what a command line or a URL gives; see Asked.parse."""
        asked = Asked.parse(parameters, now=now, by=self.by, options=self.options)
        if self.until_now and asked.until is None:
            return replace(asked, until=math.ceil(now))
        return asked


def find(name: str) -> Question:
    """Return the question of that name, or raise SettingsError with the names there are."""
    if name not in NAMES:
        raise SettingsError(f"no question {name!r:.40}; wanted one of {', '.join(NAMES)}")
    found: Question = import_module(f"edgemse.fleet.{name}").QUESTION
    return found


def questions() -> list[Question]:
    """Return all questions, in their order."""
    return [find(name) for name in NAMES]


def answer(question: Question, reading: Reading, asked: Asked) -> Answer:
    """Answer the question; note where a bound cuts a cell, and if there is no cell to answer from.

    Raises ColumnError if the fleet has no such column or attribute.
    """
    noting = Noting(reading)
    found = question.ask(noting, asked)
    notes = (*noting.notes(), *across(reading, asked), *coarsened(reading, asked))
    found = replace(found, notes=(*found.notes, *notes))
    selection = select(reading, asked, by=())
    if len(reading.rows(ANY.format(selection.sql), selection.parameters)):
        return found
    return replace(found, cells_found=False, notes=(_nothing(reading, asked), *found.notes))


def _nothing(reading: Reading, asked: Asked) -> str:
    rows = reading.rows("SELECT min(window_start_seconds), max(window_start_seconds) FROM cells")
    ((first, last),) = rows
    if first is None:
        return "no cell: the store is empty"
    return (
        f"no cell: nothing is {asked.in_words()}; the store's windows start from"
        f" {iso_time(first)} to {iso_time(last)}"
    )
