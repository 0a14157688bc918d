"""The order of an answer's rows, and how many of them are wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from edgemse.errors import ColumnError, SettingsError
from edgemse.fleet.answers import Answer

__all__ = ["Order"]

A = TypeVar("A", bound=Answer)


@dataclass(frozen=True, slots=True)
class Order:
    """A column to sort by, of an answer's `columns` or headings, and the most rows that are wanted.

    Figures come with the largest first, texts and times from the first to the last, `yes` before
    `no`; `-` before the column turns it round. What is not known comes last either way.
    """

    sort: str = ""
    """Empty: the question's own order."""
    limit: int | None = None
    """None: all."""

    @classmethod
    def parse(cls, parameters: Mapping[str, Sequence[str]]) -> Order:
        """Read `sort` and `limit` as a command line or a URL gives them, or raise SettingsError."""
        for name in ("sort", "limit"):
            if len(parameters.get(name, ())) > 1:
                raise SettingsError(f"{name}: given {len(parameters[name])} times, wanted once")
        (sort,), (limit,) = parameters.get("sort", [""]), parameters.get("limit", [""])
        if limit and not (limit.isascii() and limit.isdecimal() and int(limit[:18]) > 0):
            raise SettingsError(f"limit {limit!r:.40}: wanted a number of rows, 1 or more")
        return cls(sort, int(limit) if limit else None)

    def of(self, answer: A) -> A:
        """Return the answer with its rows in this order; a note says what was left out.

        Raises ColumnError if its rows have no such column.
        """
        rows = [*getattr(answer, answer.ROWS)]
        notes = list(answer.notes)
        if self.sort:
            rows = self._sorted(answer, rows)
        if self.limit is not None and len(rows) > self.limit:
            notes.append(
                f"{self.limit:,} of {len(rows):,} {answer.ROWS} are here: the limit leaves out"
                f" {len(rows) - self.limit:,}"
            )
            rows = rows[: self.limit]
        changed: dict[str, Any] = {"notes": tuple(notes), answer.ROWS: tuple(rows)}
        return replace(answer, **changed)

    def _sorted(self, answer: Answer, rows: list[Any]) -> list[Any]:
        column = self.sort.removeprefix("-")
        if column not in answer.columns():
            headings = {heading.lower(): name for name, heading in answer.HEADINGS.items()}
            column = headings.get(column.lower(), column)
        if column not in answer.columns():
            raise ColumnError(
                f"sort {column!r:.80}: no such column; wanted one of {', '.join(answer.columns())}"
            )
        values = [record[column] for record in answer.records()]
        places = [place for place, value in enumerate(values) if _known(value)]
        figures = any(isinstance(values[place], int | float) for place in places)
        turned = self.sort.startswith("-") != figures
        places.sort(key=values.__getitem__, reverse=turned)
        left = [place for place, value in enumerate(values) if not _known(value)]
        return [rows[place] for place in (*places, *left)]


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
