"""The ledger's tables, and the statements that more than one file of this room uses.

`exposed` is the highest revision that may have been handed to the broker, 0 if none; `acked` is
what the collector has of it; `code` and `reason` say why a cell is parked, NULL if it is not. The
numbers in `meta` are kept by triggers, in the transactions that change them: nobody has to count,
but for `entries`, of which so many change that a trigger would double what they cost.
`boot` to `known`, and `spans`, are what calendar.py keeps of time. Each row carries the checksum of
its other columns: SQLite does not notice a flipped bit.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "CELL",
    "COLUMNS",
    "GUARDED",
    "META_UPDATE",
    "NUMBERS",
    "PAGE_BYTES",
    "RECOUNT",
    "SCHEMA",
    "SCHEMA_VERSION",
    "WAITING",
    "guarded",
    "inserted",
    "stamped",
]

SCHEMA_VERSION = 1
PAGE_BYTES = 2_048
WAITING = "acked < revision AND code IS NULL"
"""A cell that the collector has not committed, and that it may still take."""
CELL = (
    "producer",
    "sequence",
    "revision",
    "final",
    "model",
    "version",
    "output",
    "segment",
    "measure",
    "start",
    "width",
    "state",
    "coverage",
)
"""The columns of `cells` that make a SealedCell, in its order."""
COLUMNS = ", ".join(CELL)
GUARDED: Mapping[str, tuple[str, ...]] = {
    "meta": (
        *("schema", "id", "hardware", "elapsed", "store", "commits"),
        *("boot", "clock_offset", "until", "known"),
    ),
    "cells": (*CELL, "relayed", "exposed", "acked", "code", "reason"),
    "entries": ("id", "entry"),
    "sessions": ("session", "lines", "touched"),
    "attributes": ("name", "value", "since"),
    "spans": ("start", "until", "moved"),
}
"""Of each table the columns that its checksum is of, in this order."""
NUMBERS = "cells, relayed, waiting, parked, entries"
"""Of `meta`: kept by triggers, counted anew at each start."""

_COUNTED = """
    UPDATE meta SET cells = cells {sign} 1, relayed = relayed {sign} {row}.relayed,
        waiting = waiting {sign} ({row}.acked < {row}.revision AND {row}.code IS NULL),
        parked = parked {sign} ({row}.code IS NOT NULL);
"""

SCHEMA = f"""
CREATE TABLE meta (
    schema INTEGER NOT NULL, id TEXT NOT NULL, hardware TEXT NOT NULL, elapsed REAL NOT NULL,
    store TEXT NOT NULL, commits INTEGER NOT NULL,
    boot TEXT NOT NULL, clock_offset REAL NOT NULL, until REAL NOT NULL, known REAL NOT NULL,
    cells INTEGER NOT NULL DEFAULT 0, relayed INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0, parked INTEGER NOT NULL DEFAULT 0,
    entries INTEGER NOT NULL DEFAULT 0, crc INTEGER NOT NULL
);
CREATE TABLE cells (
    producer BLOB NOT NULL, sequence INTEGER NOT NULL, revision INTEGER NOT NULL,
    final INTEGER NOT NULL, relayed INTEGER NOT NULL,
    exposed INTEGER NOT NULL, acked INTEGER NOT NULL, code TEXT, reason TEXT,
    model TEXT NOT NULL, version TEXT NOT NULL, output TEXT NOT NULL, segment TEXT NOT NULL,
    measure TEXT NOT NULL,
    start INTEGER NOT NULL, width INTEGER NOT NULL, state BLOB NOT NULL, coverage BLOB,
    crc INTEGER NOT NULL,
    PRIMARY KEY (producer, sequence)
) WITHOUT ROWID;
CREATE INDEX cells_due ON cells ((exposed > 0) DESC, start) WHERE {WAITING};
CREATE INDEX cells_parked ON cells (start) WHERE code IS NOT NULL;
CREATE TRIGGER cells_in AFTER INSERT ON cells BEGIN {_COUNTED.format(sign="+", row="NEW")} END;
CREATE TRIGGER cells_out AFTER DELETE ON cells BEGIN {_COUNTED.format(sign="-", row="OLD")} END;
CREATE TRIGGER cells_changed AFTER UPDATE OF revision, acked, code ON cells
WHEN (OLD.code IS NULL) <> (NEW.code IS NULL)
    OR (OLD.acked < OLD.revision) <> (NEW.acked < NEW.revision)
BEGIN {_COUNTED.format(sign="-", row="OLD")} {_COUNTED.format(sign="+", row="NEW")} END;
CREATE TABLE entries (
    id TEXT PRIMARY KEY, entry BLOB NOT NULL, crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE sessions (
    session TEXT PRIMARY KEY, lines INTEGER NOT NULL, touched REAL NOT NULL, crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE attributes (
    name TEXT PRIMARY KEY, value TEXT NOT NULL, since INTEGER, crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE spans (
    start REAL PRIMARY KEY, until REAL NOT NULL, moved REAL, crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE defects (
    kind TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE TABLE adopted (file TEXT PRIMARY KEY, cells INTEGER NOT NULL) WITHOUT ROWID;
"""

RECOUNT = f"""
SELECT count(*), total(relayed), total({WAITING}), total(code IS NOT NULL),
    (SELECT count(*) FROM entries) FROM cells
"""  # noqa: S608 - constants
"""What NUMBERS are to be."""
META_UPDATE = (
    "UPDATE meta SET"
    + ",".join(f" {name} = ?{number}" for number, name in enumerate(GUARDED["meta"], 1))
    + f", crc = checksum({', '.join(f'?{n}' for n in range(1, len(GUARDED['meta']) + 1))})"
)


def guarded(table: str) -> str:
    """Return the columns that the table's checksum is of, as a statement names them."""
    return ", ".join(GUARDED[table])


def inserted(table: str) -> str:
    """Return the statement that inserts a row of GUARDED's columns with its checksum."""
    marks = ", ".join(f"?{number}" for number in range(1, len(GUARDED[table]) + 1))
    return f"INTO {table} ({guarded(table)}, crc) VALUES ({marks}, checksum({marks}))"


def stamped(**changed: str) -> str:
    """Return a SET clause that changes columns of `cells`, and the checksum with them."""
    whole = ", ".join(f"({changed[c]})" if c in changed else c for c in GUARDED["cells"])
    return ", ".join([*(f"{c} = {v}" for c, v in changed.items()), f"crc = checksum({whole})"])
