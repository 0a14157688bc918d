"""What a ledger holds of times that are on no calendar yet: the spans, and the cells in them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from edgemse.cells import UNPLACED_SECONDS, Window
from edgemse_agent.calendar import SPANS_MAX, Span, follow_spans
from edgemse_agent.ledger.schema import inserted, stamped

__all__ = ["UNPLACED", "move_cells", "read_spans", "write_spans"]

UNPLACED = f"start >= {UNPLACED_SECONDS}"
"""Which cells have no place on the calendar: they are neither exposed nor due."""


def read_spans(database: sqlite3.Connection) -> list[Span]:
    """Return the spans, in their order."""
    return [Span(*row) for row in database.execute("SELECT start, until, moved FROM spans")]


def write_spans(database: sqlite3.Connection, spans: Iterable[Span]) -> None:
    """Write spans down, or what is now known of them; of placed ones the last are kept."""
    spans = list(spans)
    if not spans:
        return
    database.executemany(f"INSERT OR REPLACE {inserted('spans')}", spans)
    database.execute(
        "DELETE FROM spans WHERE moved IS NOT NULL AND start IN"
        " (SELECT start FROM spans ORDER BY start DESC LIMIT -1 OFFSET ?)",
        (SPANS_MAX,),
    )


def move_cells(database: sqlite3.Connection, spans: Sequence[Span]) -> tuple[int, int]:
    """Put the cells in their windows of the calendar.

    Return how many there were, and how many of them are of boots that ended before the time was
    known.
    """
    place = follow_spans(spans)
    rows = database.execute(
        f"SELECT producer, sequence, start, width FROM cells WHERE {UNPLACED}"  # noqa: S608
    ).fetchall()
    database.executemany(
        f"UPDATE cells SET {stamped(start='?1')}"  # noqa: S608 - constants
        " WHERE producer = ?2 AND sequence = ?3",
        [
            (Window(start, width).placed(place).start, producer, sequence)
            for producer, sequence, start, width in rows
        ],
    )
    return len(rows), sum(start < spans[-1].start for _, _, start, _ in rows)
