"""The ledger: the SQLite file that holds what must survive a power cut.

Every write is one transaction in WAL mode with synchronous=FULL, so that what a method has returned
from is on the disk. Nothing is published or confirmed before that.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from edgemse.cells import Identity, SealedCell, Series, Window, unseal
from edgemse.errors import LedgerError, LedgerLockedError, StateError
from edgemse_agent.pairing import Entry

__all__ = ["Held", "Ledger"]

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE cells (
    producer BLOB NOT NULL, sequence INTEGER NOT NULL, revision INTEGER NOT NULL,
    final INTEGER NOT NULL, relayed INTEGER NOT NULL,
    exposed INTEGER NOT NULL, acked INTEGER NOT NULL, parked TEXT,
    model TEXT NOT NULL, version TEXT NOT NULL, output TEXT NOT NULL, segment TEXT NOT NULL,
    start INTEGER NOT NULL, width INTEGER NOT NULL, state BLOB NOT NULL, coverage TEXT,
    PRIMARY KEY (producer, sequence)
) WITHOUT ROWID;
CREATE INDEX cells_due ON cells (exposed DESC, start) WHERE acked < revision AND parked IS NULL;
CREATE TABLE entries (id TEXT PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (
    session TEXT PRIMARY KEY, lines INTEGER NOT NULL, touched REAL NOT NULL
) WITHOUT ROWID;
"""
SESSIONS_MAX = 1_000
"""Sessions remembered; past that the one least lately used is forgotten."""

_COLUMNS = (
    "producer, sequence, revision, final, model, version, output, segment,"
    " start, width, state, coverage"
)
_entry_decoder = msgspec.msgpack.Decoder(Entry)


class Held(NamedTuple):
    """A cell as the ledger holds it."""

    cell: SealedCell
    exposed: bool


class Ledger:
    """One open ledger, locked for this process for as long as it is open.

    A file that is not a sound ledger, or that belongs to another board (`hardware`), is set aside
    under another name and a new one begun; `set_aside` names it. `path` None keeps it in memory,
    for a run that outlives nothing.
    """

    def __init__(self, path: Path | None, *, hardware: str = "") -> None:
        self.set_aside: Path | None = None
        self._lock: IO[bytes] | None = None
        if path is not None:
            self._lock = _locked(path)
        try:
            self._database = self._opened_or_replaced(path, hardware)
        except LedgerError:
            if self._lock is not None:
                self._lock.close()
            raise
        self.id = str(self._meta("id"))
        self.elapsed_seconds = float(str(self._meta("elapsed")))

    def _opened_or_replaced(self, path: Path | None, hardware: str) -> sqlite3.Connection:
        try:
            return _opened(path, hardware)
        except _UnfitError as unfit:
            assert path is not None
            self.set_aside = _put_away(path, unfit.kind)
            log.error("%s: %s; put away as %s", path, unfit, self.set_aside)
            return _opened(path, hardware)

    def close(self) -> None:
        """Close the file and give up the lock."""
        self._database.close()
        if self._lock is not None:
            self._lock.close()

    def commit(
        self,
        cells: Iterable[tuple[SealedCell, bool, bool]] = (),
        entries: Mapping[str, Entry | None] = {},
        sessions: Mapping[str, int] = {},
        *,
        elapsed_seconds: float | None = None,
        absorbed: Iterable[Identity] = (),
    ) -> None:
        """Write (cell, relayed, exposed) revisions, pairing entries and line counts together.

        A revision that is not newer than the one held changes nothing. `absorbed` cells leave in
        the same transaction: their samples are in one of `cells`.
        """
        with self._database as transaction:
            transaction.executemany(
                "DELETE FROM cells WHERE producer = ? AND sequence = ?", absorbed
            )
            transaction.executemany(
                f"INSERT INTO cells ({_COLUMNS}, relayed, exposed, acked)"  # noqa: S608 - constant
                f" VALUES ({', '.join('?' * 14)}, 0) ON CONFLICT DO UPDATE SET"
                " revision = excluded.revision, final = excluded.final, state = excluded.state,"
                " coverage = excluded.coverage, exposed = max(exposed, excluded.exposed),"
                " parked = NULL"
                " WHERE excluded.revision > revision",
                [(*_row(cell), relayed, exposed) for cell, relayed, exposed in cells],
            )
            transaction.executemany(
                "DELETE FROM entries WHERE id = ?",
                [(key,) for key, entry in entries.items() if entry is None],
            )
            transaction.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?)",
                [(k, msgspec.msgpack.encode(entry)) for k, entry in entries.items() if entry],
            )
            elapsed = self.elapsed_seconds if elapsed_seconds is None else elapsed_seconds
            transaction.executemany(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)",
                [(session, lines, elapsed) for session, lines in sessions.items()],
            )
            if sessions:
                transaction.execute(
                    "DELETE FROM sessions WHERE session IN (SELECT session FROM sessions"
                    " ORDER BY touched DESC LIMIT -1 OFFSET ?)",
                    (SESSIONS_MAX,),
                )
            transaction.execute("UPDATE meta SET value = ? WHERE key = 'elapsed'", (elapsed,))
        self.elapsed_seconds = elapsed

    def close_left_open(self) -> int:
        """Make every own cell that earlier runs left open final as it stands; return how many."""
        with self._database as transaction:
            return transaction.execute(
                "UPDATE cells SET revision = revision + 1, final = 1"
                " WHERE NOT final AND NOT relayed"
            ).rowcount

    def due(self, limit: int) -> list[Held]:
        """Return cells that the collector has not committed, those once exposed first."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS}, exposed FROM cells"  # noqa: S608 - constant
            " WHERE acked < revision AND parked IS NULL ORDER BY exposed DESC, start LIMIT ?",
            (limit,),
        )
        return [Held(_cell(row[:12]), bool(row[12])) for row in rows]

    def expose(self, identities: Iterable[Identity]) -> None:
        """Mark cells as perhaps handed to the broker, before they are."""
        with self._database as transaction:
            transaction.executemany(
                "UPDATE cells SET exposed = 1 WHERE producer = ? AND sequence = ?", identities
            )

    def acked(self, committed: Mapping[Identity, int]) -> None:
        """Take what the collector holds; a final cell (a relayed one, any) is then forgotten."""
        with self._database as transaction:
            transaction.executemany(
                "UPDATE cells SET acked = max(acked, ?) WHERE producer = ? AND sequence = ?",
                [(revision, *identity) for identity, revision in committed.items()],
            )
            transaction.executemany(
                "DELETE FROM cells WHERE producer = ? AND sequence = ?"
                " AND acked >= revision AND (final OR relayed)",
                committed,
            )

    def park(self, refused: Mapping[Identity, tuple[int, str]]) -> int:
        """Set refused revisions aside with the reason; return how many of them were held."""
        with self._database as transaction:
            return transaction.executemany(
                "UPDATE cells SET parked = ? WHERE producer = ? AND sequence = ? AND revision = ?",
                [(why, *identity, revision) for identity, (revision, why) in refused.items()],
            ).rowcount

    def parked(self) -> list[tuple[SealedCell, str]]:
        """Return the refused cells with the collector's reason."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS}, parked FROM cells WHERE parked IS NOT NULL"  # noqa: S608
        )
        return [(_cell(row[:12]), row[12]) for row in rows]

    def release(self) -> int:
        """Make all parked cells due again; return how many."""
        with self._database as transaction:
            return transaction.execute(
                "UPDATE cells SET parked = NULL WHERE parked IS NOT NULL"
            ).rowcount

    def count(self) -> tuple[int, int]:
        """Return how many cells wait for the collector, and how many are parked."""
        waiting, parked = self._database.execute(
            "SELECT count(*) FILTER (WHERE acked < revision AND parked IS NULL),"
            " count(*) FILTER (WHERE parked IS NOT NULL) FROM cells"
        ).fetchone()
        return int(waiting), int(parked)

    def coarsenable(self, narrower_than: int, limit: int) -> list[SealedCell]:
        """Return the oldest own final cells, never exposed, of windows narrower than that."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM cells"  # noqa: S608 - constant
            " WHERE final AND NOT relayed AND NOT exposed AND parked IS NULL AND width < ?"
            " ORDER BY start LIMIT ?",
            (narrower_than, limit),
        )
        return [_cell(row) for row in rows]

    def entries(self) -> list[tuple[str, Entry]]:
        """Return the predictions and labels that wait, by id."""
        rows = self._database.execute("SELECT id, entry FROM entries")
        return [(key, _entry_decoder.decode(entry)) for key, entry in rows]

    def sessions(self) -> dict[str, int]:
        """Return how many lines of each session are committed."""
        return dict(self._database.execute("SELECT session, lines FROM sessions"))

    def _meta(self, key: str) -> object:
        (value,) = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return value


class _UnfitError(Exception):
    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def _locked(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = Path(f"{path}.lock").open("ab")  # noqa: SIM115 - held for life
    except OSError as error:
        raise LedgerError(
            f"ledger {path}: cannot be written: {error.strerror}; set another path (--ledger)"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise LedgerLockedError(
            f"ledger {path}: another edgemse-agent holds it; stop that one, or give this one"
            " a ledger of its own"
        ) from None
    return lock


def _opened(path: Path | None, hardware: str) -> sqlite3.Connection:
    """Open or create the file; raise _UnfitError if what is there cannot be used."""
    try:
        database = sqlite3.connect(path or ":memory:")
    except sqlite3.Error as error:
        raise LedgerError(f"ledger {path}: cannot be opened: {error}") from None
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            _create(database, hardware)
            return database
        _check(database, version, hardware)
    except sqlite3.OperationalError as error:
        database.close()
        raise LedgerError(f"ledger {path}: {error}; check the disk and its permissions") from None
    except sqlite3.DatabaseError as error:
        database.close()
        raise _UnfitError("corrupt", f"not sound: {error}") from None
    except _UnfitError:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection, version: int, hardware: str) -> None:
    """Raise _UnfitError unless the ledger is sound to the last row, and this board's."""
    if version > SCHEMA_VERSION:
        raise _UnfitError("newer", f"made by a newer edgemse-agent (schema {version})")
    problems = database.execute("PRAGMA quick_check(1)").fetchall()
    if problems != [("ok",)]:
        raise _UnfitError("corrupt", f"not sound: {problems[0][0]}")
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    if not {"meta", "cells", "entries", "sessions"} <= tables:
        raise _UnfitError("corrupt", f"not a ledger: its tables are {sorted(tables)}")
    meta = dict(database.execute("SELECT key, value FROM meta"))
    if not {"id", "hardware", "elapsed"} <= meta.keys():
        raise _UnfitError("corrupt", f"not a ledger: it knows only {sorted(meta)} of itself")
    if meta["hardware"] != hardware:
        raise _UnfitError("foreign", f"of another board ({meta['hardware']!r}, not {hardware!r})")
    try:
        for row in database.execute(f"SELECT {_COLUMNS} FROM cells"):  # noqa: S608 - constant
            unseal(_cell(row), device="")
        for (entry,) in database.execute("SELECT entry FROM entries"):
            _entry_decoder.decode(entry)
    except (StateError, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise _UnfitError("corrupt", f"not sound: {error}") from None


def _create(database: sqlite3.Connection, hardware: str) -> None:
    with database:
        database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};")
        database.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [("id", secrets.token_hex(16)), ("hardware", hardware), ("elapsed", 0.0)],
        )


def _put_away(path: Path, kind: str) -> Path:
    """Rename the ledger and its journal, so that a person can look at them later."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{kind}-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        source = Path(f"{path}{suffix}")
        if source.exists():
            os.replace(source, f"{aside}{suffix}")  # noqa: PTH105 - a pair of names
    return aside


def _row(cell: SealedCell) -> tuple[object, ...]:
    coverage = cell.coverage and json.dumps([*cell.coverage[:-1], cell.coverage[-1].hex()])
    return (
        *cell.identity,
        cell.revision,
        cell.final,
        *cell.series,
        *cell.window,
        cell.state,
        coverage,
    )


def _cell(row: tuple[object, ...]) -> SealedCell:
    producer, sequence, revision, final, *series, start, width, state, coverage = row
    if coverage is not None:
        *counts, histogram = json.loads(str(coverage))
        coverage = (*counts, bytes.fromhex(histogram))
    return SealedCell(
        Identity(producer, sequence),  # type: ignore[arg-type]  # SQLite gives what was put in
        revision,  # type: ignore[arg-type]
        bool(final),
        Series(*series),  # type: ignore[arg-type]
        Window(start, width),  # type: ignore[arg-type]
        state,  # type: ignore[arg-type]
        coverage,
    )
