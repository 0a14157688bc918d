"""The SQL of hours and days in one row each: what of them is there, and what makes them anew.

Texts are names of columns, numbers are integers; see edgemse.stores.statements.
"""

from __future__ import annotations

from edgemse.stores.base import Selection
from edgemse.stores.tables import ROLLUPS, SERIES, Table
from edgemse.times import DAY_SECONDS, HOUR_SECONDS

__all__ = [
    "AS_ROLLUPS",
    "BACKLOG",
    "CHANGES",
    "DROP_ROLLED",
    "DROP_TOUCHED",
    "EVERY_ROLLUP",
    "FORGET",
    "HOLD_TOUCHED",
    "HOURS_OF",
    "READY",
    "UNCLEAN",
    "in_stage",
    "list_series",
    "move_on",
    "picked",
    "stages",
    "to_merge",
]

_HEAD = ", ".join(SERIES.key)
AS_ROLLUPS = (
    f"SELECT {_HEAD}, window_start_seconds, window_width_seconds, CAST(1 AS BIGINT) AS cell_count,"
    " window_start_seconds AS first_start_seconds, window_start_seconds AS last_start_seconds,"
    f" window_width_seconds AS cell_width_seconds, {', '.join([*ROLLUPS.columns][12:])} FROM cells"
)
"""Cells, with the columns of `rollups`."""
EVERY_ROLLUP = f"SELECT {', '.join(ROLLUPS.columns)} FROM rollups"
UNCLEAN = (
    "SELECT CAST(0 AS BIGINT), min(start_seconds), max(start_seconds) FROM hours"
    " UNION ALL SELECT 3600, start_seconds, 0 FROM hours WHERE stage <> 'rolled'"
    " UNION ALL SELECT 86400, start_seconds, 0 FROM days WHERE stage <> 'rolled'"
    " UNION ALL SELECT DISTINCT width_seconds, start_seconds, 0 FROM touched"
)
"""First and last hour under width 0; then the hours and days that are not rolled up just now."""
CHANGES = (
    "SELECT DISTINCT since_seconds - since_seconds % 86400 FROM attributes"
    " WHERE name = ANY(?::TEXT[]) AND since_seconds % 86400 <> 0"
)
"""Days within which an attribute changed."""
# What is yet to be rolled up. A day is ready once all its hours are.
_NOT_READY = (
    "start_seconds NOT IN (SELECT start_seconds - start_seconds % 86400 FROM hours"
    " WHERE stage <> 'rolled' UNION SELECT start_seconds - start_seconds % 86400 FROM touched"
    " WHERE width_seconds = 3600)"
)
READY = {3_600: "TRUE", 86_400: _NOT_READY}
"""By width: what must hold of an hour or a day."""
DROP_ROLLED = (
    "DELETE FROM rollups WHERE window_width_seconds = ? AND window_start_seconds >= ?"
    " AND window_start_seconds <= ? AND EXISTS (SELECT 1 FROM touched AS t"
    " WHERE t.id = ANY(?::BIGINT[]) AND t.start_seconds = rollups.window_start_seconds AND "
    + " AND ".join(f"t.{name} = rollups.{name}" for name in SERIES.key)
    + ")"
)
HOLD_TOUCHED = "UPDATE touched SET width_seconds = width_seconds WHERE id = ANY(?::BIGINT[])"
DROP_TOUCHED = "DELETE FROM touched WHERE id = ANY(?::BIGINT[])"
BACKLOG = (
    "SELECT count(*), min(start_seconds), (SELECT count(*) FROM touched),"
    " (SELECT count(*) FROM rollups) FROM (SELECT start_seconds FROM hours"
    " WHERE stage <> 'rolled' AND start_seconds <= ? UNION SELECT start_seconds FROM touched"
    " WHERE width_seconds = 3600) AS unclean"
)

# Notes first: who makes rows of some holds them until it has written (delivery rule 14).
FORGET = ("DELETE FROM touched WHERE device = ?", "DELETE FROM rollups WHERE device = ?")
HOURS_OF = (
    f"SELECT DISTINCT window_start_seconds - window_start_seconds % 3600, {_HEAD} FROM cells"
    " WHERE device = ?"
)


def in_stage(periods: Table, width_seconds: int) -> str:
    """Return the SELECT of the oldest of the hours or days in a stage that begin by a time."""
    return (
        f"SELECT start_seconds FROM {periods.name} WHERE stage = ? AND start_seconds <= ?"
        f" AND {READY[width_seconds]} ORDER BY start_seconds LIMIT ?"
    )


def move_on(periods: Table) -> str:
    """Return the statement that moves hours or days from one stage to another."""
    return (
        f"UPDATE {periods.name} SET stage = ? WHERE stage = ? AND start_seconds = ANY(?::BIGINT[])"
    )


def picked(width_seconds: int) -> str:
    """Return the SELECT of the first rows of `touched` of a width that are ready."""
    return (
        f"SELECT id, start_seconds, {_HEAD} FROM touched"
        f" WHERE width_seconds = {int(width_seconds)} AND {READY[width_seconds]}"
        " ORDER BY id LIMIT ?"
    )


def list_series(width_seconds: int) -> str:
    """Return the statement that notes all series of the hours or days from one to another."""
    start = f"window_start_seconds - window_start_seconds % {int(width_seconds)}"
    of_days = {"rollups": "window_width_seconds = 3600", "cells": "window_width_seconds > 3600"}
    sources = of_days if width_seconds == DAY_SECONDS else {"cells": "TRUE"}
    rows = " UNION ".join(
        f"SELECT {start} AS start_seconds, {_HEAD} FROM {table} WHERE {holds}"
        " AND window_start_seconds >= ? AND window_start_seconds < ?"
        for table, holds in sources.items()
    )
    return (
        f"INSERT INTO touched (width_seconds, start_seconds, {_HEAD})"
        f" SELECT DISTINCT {int(width_seconds)}, start_seconds, {_HEAD} FROM ({rows}) AS every"
        " WHERE start_seconds = ANY(?::BIGINT[]) ORDER BY start_seconds"
    )


def stages(periods: Table) -> str:
    """Return the SELECT of the stage of some hours, or days."""
    return f"SELECT start_seconds, stage FROM {periods.name} WHERE start_seconds = ANY(?::BIGINT[])"


def to_merge(width_seconds: int, first: int, end: int, last_id: int) -> Selection:
    """Return what the rows of `touched` up to an id are made of, of starts in [first, end).

    Its group columns are device, series, the hour or day, and the width of the cells.
    """
    within = f"window_start_seconds >= {int(first)} AND window_start_seconds < {int(end)}"
    if width_seconds == DAY_SECONDS:
        rows = f"{EVERY_ROLLUP} WHERE window_width_seconds = {HOUR_SECONDS} AND {within} UNION ALL"
        rows += f" {AS_ROLLUPS} WHERE window_width_seconds > {HOUR_SECONDS} AND {within}"
    else:
        rows = f"{AS_ROLLUPS} WHERE window_width_seconds <= {HOUR_SECONDS} AND {within}"
    start = f"c.window_start_seconds - c.window_start_seconds % {int(width_seconds)}"
    keys = [*(f"c.{name}" for name in SERIES.key), start, "c.cell_width_seconds"]
    groups = ", ".join(f"{key} AS g{place}" for place, key in enumerate(keys, 1))
    same = " AND ".join(f"t.{name} = c.{name}" for name in SERIES.key)
    sql = (
        f"SELECT {groups}, c.* FROM ({rows}) AS c WHERE EXISTS (SELECT 1 FROM touched AS t"
        f" WHERE t.width_seconds = {int(width_seconds)} AND t.id <= {int(last_id)}"
        f" AND {READY[width_seconds]} AND t.start_seconds = {start} AND {same})"
    )
    return Selection(sql, (), len(keys))
