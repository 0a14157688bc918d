"""The ledger's tables.

`exposed` is the highest revision that may have been handed to the broker, 0 if none; `acked` is
what the collector has of it; `code` and `reason` say why a cell is parked, NULL if it is not. The
numbers in `meta` are kept by triggers, in the transactions that change them: nobody has to count.
"""

from __future__ import annotations

__all__ = ["COLUMNS", "RECOUNT", "SCHEMA", "SCHEMA_VERSION", "TABLES", "WAITING"]

SCHEMA_VERSION = 1
WAITING = "acked < revision AND code IS NULL"
"""A cell that the collector has not committed, and that it may still take."""
COLUMNS = (
    "producer, sequence, revision, final, model, version, output, segment, measure,"
    " start, width, state, coverage"
)
"""Of `cells`: what makes a SealedCell, in its order."""

_COUNTED = """
    UPDATE meta SET cells = cells {sign} 1, relayed = relayed {sign} {row}.relayed,
        waiting = waiting {sign} ({row}.acked < {row}.revision AND {row}.code IS NULL),
        parked = parked {sign} ({row}.code IS NOT NULL);
"""

SCHEMA = f"""
CREATE TABLE meta (
    id TEXT NOT NULL, hardware TEXT NOT NULL, elapsed REAL NOT NULL, store TEXT NOT NULL,
    cells INTEGER NOT NULL DEFAULT 0, relayed INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0, parked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE cells (
    producer BLOB NOT NULL, sequence INTEGER NOT NULL, revision INTEGER NOT NULL,
    final INTEGER NOT NULL, relayed INTEGER NOT NULL,
    exposed INTEGER NOT NULL, acked INTEGER NOT NULL, code TEXT, reason TEXT,
    model TEXT NOT NULL, version TEXT NOT NULL, output TEXT NOT NULL, segment TEXT NOT NULL,
    measure TEXT NOT NULL,
    start INTEGER NOT NULL, width INTEGER NOT NULL, state BLOB NOT NULL, coverage BLOB,
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
CREATE TABLE entries (id TEXT PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (
    session TEXT PRIMARY KEY, lines INTEGER NOT NULL, touched REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE attributes (
    name TEXT PRIMARY KEY, value TEXT NOT NULL, since INTEGER
) WITHOUT ROWID;
"""
TABLES = frozenset({"meta", "cells", "entries", "sessions", "attributes"})

RECOUNT = f"""
UPDATE meta SET
    cells = (SELECT count(*) FROM cells),
    relayed = (SELECT count(*) FROM cells WHERE relayed),
    waiting = (SELECT count(*) FROM cells WHERE {WAITING}),
    parked = (SELECT count(*) FROM cells WHERE code IS NOT NULL)
"""  # noqa: S608 - constants
"""Sets the numbers right, whatever they were."""
