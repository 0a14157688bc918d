"""Which cells a question is about, and what they are grouped by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from edgemse.errors import ColumnError, SettingsError
from edgemse.stores import Query

__all__ = ["BY_MAX", "COLUMNS", "Filter", "Selection", "instant"]

COLUMNS = ("device", "model", "version", "output", "segment")
"""What every cell can be grouped by; the attributes that devices report come on top."""
BY_MAX = 6


@dataclass(frozen=True, slots=True)
class Filter:
    """The cells of one model, one version and windows that start in [since, until), UTC seconds."""

    model: str | None = None
    version: str | None = None
    since: float | None = None
    until: float | None = None


class Selection(NamedTuple):
    """A SELECT of cells as g1 ... g6 and all their columns, and its parameters."""

    sql: str
    parameters: tuple[object, ...]

    @classmethod
    def of(cls, query: Query, by: Sequence[str], where: Filter) -> Selection:
        """Return the selection, or raise ColumnError if the fleet has no such column."""
        if len(by) > BY_MAX or len(set(by)) < len(by):
            raise ColumnError(f"grouping by {', '.join(by)}: wanted up to {BY_MAX}, each once")
        groups, joins, names = [], [], []
        for place, column in enumerate(by, start=1):
            if column in COLUMNS:
                groups.append(f"cells.{column} AS g{place}")
            else:
                _check_attribute(query, column)
                groups.append(f"coalesce(a{place}.value, '') AS g{place}")
                joins.append(
                    f" LEFT JOIN attributes AS a{place}"
                    f" ON a{place}.device = cells.device AND a{place}.name = ?"
                )
                names.append(column)
        groups += [f"'' AS g{place}" for place in range(len(by) + 1, BY_MAX + 1)]
        conditions, values = _conditions(where)
        # Columns are from COLUMNS, places are numbers; names and values are parameters.
        source = f"cells{''.join(joins)}{conditions}"
        sql = f"SELECT {', '.join(groups)}, cells.* FROM {source}"  # noqa: S608
        return cls(sql, (*names, *values))


def _conditions(where: Filter) -> tuple[str, list[object]]:
    known: dict[str, object] = {
        "cells.model = ?": where.model,
        "cells.version = ?": where.version,
        "cells.window_start_seconds >= ?": where.since,
        "cells.window_start_seconds < ?": where.until,
    }
    asked = {condition: value for condition, value in known.items() if value is not None}
    return (" WHERE " + " AND ".join(asked) if asked else ""), list(asked.values())


def _check_attribute(query: Query, name: str) -> None:
    known = [row[0] for row in query("SELECT DISTINCT name FROM attributes ORDER BY name", ())]
    if name not in known:
        attributes = f" or an attribute of the devices: {', '.join(known)}" if known else ""
        raise ColumnError(f"no column {name!r}; wanted one of {', '.join(COLUMNS)}{attributes}")


def instant(text: str) -> float:
    """Return the UTC seconds of an ISO 8601 date or time (no zone: UTC) or of epoch seconds.

    >>> instant("1970-01-02"), instant("1970-01-01T01:00:00+01:00"), instant("12.5")
    (86400.0, 0.0, 12.5)
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            time = datetime.fromisoformat(text.strip())
        except ValueError:
            seconds = math.nan
        else:
            seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds):
        raise SettingsError(
            f"time {text!r:.80}: wanted ISO 8601, for example 2026-01-31T12:00Z, or epoch seconds"
        )
    return seconds
