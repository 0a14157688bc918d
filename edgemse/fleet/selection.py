"""From what is asked to a SELECT of cells: columns, attributes with their history, bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edgemse.errors import ColumnError, SettingsError
from edgemse.fleet.asked import SHORTHANDS, Asked
from edgemse.fleet.sources import source
from edgemse.stores.base import Reading, Selection
from edgemse.times import DAY_SECONDS, HOUR_SECONDS

__all__ = ["COLUMNS", "key_text", "select"]

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NOT_KNOWN = -1
"""The hour of a window that is wider than an hour."""
START = "cells.window_start_seconds"


class _Derived(NamedTuple):
    """A column that is computed from a cell's window: integers in SQL, texts outside."""

    sql: str
    texts: tuple[str, ...]

    def number(self, name: str, text: str) -> int:
        if text not in self.texts:
            raise SettingsError(f"{name} {text!r}: wanted one of {', '.join(self.texts)}")
        return self.texts.index(text)


# Integers stay integers in every engine's arithmetic: what is divided has no remainder. The first
# of January 1970 was a Thursday.
DERIVED = {
    "hour_of_day": _Derived(
        f"CASE WHEN cells.window_width_seconds > 3600 THEN {NOT_KNOWN}"
        f" ELSE CAST(({START} % 86400 - {START} % 3600) / 3600 AS BIGINT) END",
        tuple(str(hour) for hour in range(24)),
    ),
    "weekday": _Derived(f"CAST((({START} - {START} % 86400) / 86400 + 3) % 7 AS BIGINT)", WEEKDAYS),
}
COLUMNS = (*SHORTHANDS, *DERIVED)
"""What every cell can be grouped by; the attributes that devices report come on top."""


def select(
    reading: Reading,
    asked: Asked,
    *,
    by: Sequence[str],
    step_seconds: int | None = None,
    single: bool = False,
) -> Selection:
    """Return the cells that are asked for, with a column for each of `by`, then the step's start.

    `step_seconds` adds the start of the step that a cell's window starts in as the last group
    column. With nothing to group by there is one group column, always ''.

    A row may stand for all cells of an hour or a day that lie in one group (sources.py): how many
    they are, when the first and the last one starts and how wide each is, the columns cell_count,
    first_start_seconds, last_start_seconds and cell_width_seconds say. With `single` each row is
    one cell.

    Raises ColumnError if the fleet has no such column or attribute.
    """
    joins: list[str] = []
    names: list[object] = []
    alias = _aliases(reading, [*by, *asked.where])

    def expression(column: str) -> str:
        if column in SHORTHANDS:
            return f"cells.{column}"
        if column in DERIVED:
            return DERIVED[column].sql
        place = alias[column]
        join = (
            f" LEFT JOIN attributes AS {place} ON {place}.device = cells.device"
            f" AND {place}.name = ? AND {place}.since_seconds <= {START}"
            f" AND {START} < {place}.until_seconds"
        )
        if join not in joins:
            joins.append(join)
            names.append(column)
        return f"coalesce({place}.value, '')"

    groups = [expression(column) for column in by]
    if step_seconds is not None:
        groups.append(f"{START} - {START} % {int(step_seconds)}")
    groups = groups or ["''"]
    conditions = {f"{expression(name)} = ?": _value(name, v) for name, v in asked.where.items()}
    bounds = {f"{START} >= ?": asked.since, f"{START} < ?": asked.until}
    conditions |= {text: bound for text, bound in bounds.items() if bound is not None}
    keys = ", ".join(f"{each} AS g{place}" for place, each in enumerate(groups, 1))
    # Columns come from the two tables above, places are numbers; names and values are parameters.
    finest = 1 if single else _finest([*by, *asked.where], step_seconds)
    bounds_of = (asked.since, asked.until)
    rows = source(reading, *bounds_of, attributes=[*alias], finest_seconds=finest)
    sql = f"SELECT {keys}, cells.* FROM ({rows}) AS cells{''.join(joins)}"  # noqa: S608
    sql += " WHERE " + " AND ".join(conditions) if conditions else ""
    return Selection(sql, (*names, *conditions.values()), len(groups))


def key_text(column: str) -> Callable[[Any], str]:
    """Return what makes text of a group column's values.

    >>> key_text("weekday")(0), key_text("hour_of_day")(-1), key_text("site")("north")
    ('Mon', '', 'north')
    """
    if column not in DERIVED:
        return str
    texts = DERIVED[column].texts
    return lambda value: "" if value == NOT_KNOWN else texts[value]


def _finest(columns: Sequence[str], step_seconds: int | None) -> int:
    """Return how long the spans are that no group divides: seconds."""
    fitting = (DAY_SECONDS, HOUR_SECONDS)["hour_of_day" in columns :]
    return next((span for span in fitting if (step_seconds or 0) % span == 0), 1)


def _value(name: str, text: str) -> object:
    return DERIVED[name].number(name, text) if name in DERIVED else text


def _aliases(reading: Reading, columns: Sequence[str]) -> dict[str, str]:
    """Return a table alias for each attribute among the columns."""
    attributes = [name for name in dict.fromkeys(columns) if name not in COLUMNS]
    if not attributes:
        return {}
    found = reading.rows("SELECT DISTINCT name FROM attributes ORDER BY name")
    known = [row[0] for row in found]
    for name in attributes:
        if name not in known:
            more = f" or an attribute of the devices: {', '.join(known)}" if known else ""
            raise ColumnError(f"no column {name!r}; wanted one of {', '.join(COLUMNS)}{more}")
    return {name: f"a{place}" for place, name in enumerate(attributes, 1)}
