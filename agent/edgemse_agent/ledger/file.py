"""The ledger's file: who may open it, whether it is sound, and what becomes of one that is not."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import sqlite3
from pathlib import Path
from typing import IO

import msgspec

from edgemse.cells import check
from edgemse.errors import LedgerError, LedgerLockedError, StateError
from edgemse_agent.ledger.rows import cell_of, entry_of
from edgemse_agent.ledger.schema import COLUMNS, RECOUNT, SCHEMA, SCHEMA_VERSION, TABLES

__all__ = ["Unfit", "lock", "open_or_create", "put_away"]

log = logging.getLogger(__name__)

OWNER_ONLY = 0o600
"""Predictions, labels and producers are nobody else's business."""


class Unfit(Exception):  # noqa: N818 - not an error: it says what to do with the file
    """A file that this agent may not use: `kind` is corrupt, newer or foreign."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def lock(path: Path) -> IO[bytes]:
    """Return the lock of the ledger at this path, held until it is closed.

    Raises LedgerLockedError if another process holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = os.fdopen(os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, OWNER_ONLY), "r+b")
    except OSError as error:
        raise LedgerError(
            f"ledger {path}: cannot be written: {error.strerror}; set another path (--ledger)"
        ) from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise LedgerLockedError(
            f"ledger {path}: another edgemse-agent holds it; stop that one, or give this one"
            " a ledger of its own"
        ) from None
    return held


def open_or_create(path: Path | None, hardware: str) -> sqlite3.Connection:
    """Open the file, or begin one; None is a ledger in memory.

    Raises Unfit if what is there cannot be used, LedgerError if the disk or its permissions are in
    the way.
    """
    try:
        if path is not None:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
            path.chmod(OWNER_ONLY)
        database = sqlite3.connect(path or ":memory:")
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"ledger {path}: cannot be opened: {error}") from None
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            _create(database, hardware)
        else:
            _check(database, version, hardware)
    except sqlite3.OperationalError as error:
        database.close()
        raise LedgerError(f"ledger {path}: {error}; check the disk and its permissions") from None
    except sqlite3.DatabaseError as error:
        database.close()
        raise Unfit("corrupt", f"not sound: {error}") from None
    except Unfit:
        database.close()
        raise
    return database


def _create(database: sqlite3.Connection, hardware: str) -> None:
    with database:
        database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};")
        database.execute(
            "INSERT INTO meta (id, hardware, elapsed, store) VALUES (?, ?, 0, '')",
            (secrets.token_hex(16), hardware),
        )


def _check(database: sqlite3.Connection, version: int, hardware: str) -> None:
    """Raise Unfit unless the ledger is sound to the last row, and this board's."""
    if version > SCHEMA_VERSION:
        raise Unfit("newer", f"made by a newer edgemse-agent (schema {version})")
    problems = database.execute("PRAGMA quick_check(1)").fetchall()
    if problems != [("ok",)]:
        raise Unfit("corrupt", f"not sound: {problems[0][0]}")
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    if not tables >= TABLES:
        raise Unfit("corrupt", f"not a ledger: its tables are {sorted(tables)}")
    meta = database.execute("SELECT id, hardware, elapsed FROM meta").fetchall()
    if len(meta) != 1:
        raise Unfit("corrupt", f"not a ledger: it has {len(meta)} rows about itself, wanted 1")
    if meta[0][1] != hardware:
        raise Unfit("foreign", f"of another board ({meta[0][1]!r}, not {hardware!r})")
    try:
        for row in database.execute(f"SELECT {COLUMNS} FROM cells"):  # noqa: S608 - constant
            check(cell_of(row))
        for (entry,) in database.execute("SELECT entry FROM entries"):
            entry_of(entry)
    except (StateError, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise Unfit("corrupt", f"not sound: {error}") from None
    with database:
        database.execute(RECOUNT)


def put_away(path: Path, kind: str) -> Path:
    """Rename the ledger and its journal, so that a person can look at them later."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{kind}-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        source = Path(f"{path}{suffix}")
        if source.exists():
            source.replace(f"{aside}{suffix}")
    return aside
