"""What the agent does with its ledger, a transaction each.

WAL mode with synchronous=FULL: what a method has returned from is on the disk. Nothing is published
or confirmed before that. A method raises LedgerError, having changed nothing, and nothing else.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from edgemse.cells import Identity, SealedCell
from edgemse.errors import LedgerError
from edgemse.presence import HOUR_SECONDS, Attribute
from edgemse_agent.ledger.file import Unfit, lock, open_or_create, put_away
from edgemse_agent.ledger.rows import Held, Parked, Written, cell_of, entry_of, row_of
from edgemse_agent.ledger.schema import COLUMNS, WAITING
from edgemse_agent.pairing import Entry

__all__ = ["Ledger", "Refused"]

log = logging.getLogger(__name__)

SESSIONS_MAX = 1_000
"""Sessions remembered; past that the one least lately used is forgotten."""

_INSERT = (
    f"INSERT INTO cells ({COLUMNS}, relayed, exposed, acked)"  # noqa: S608 - constants
    f" VALUES ({', '.join('?' * 15)}, 0) ON CONFLICT DO UPDATE SET"
    " revision = excluded.revision, final = excluded.final, state = excluded.state,"
    " coverage = excluded.coverage, exposed = max(exposed, excluded.exposed),"
    " code = NULL, reason = NULL"
    " WHERE excluded.revision > revision"
)

_EXPOSE = "UPDATE cells SET exposed = max(exposed, ?) WHERE producer = ? AND sequence = ?"


class Refused(NamedTuple):
    """A revision that is to be parked, and why."""

    revision: int
    code: str
    reason: str


class Ledger:
    """One open ledger, locked for this process for as long as it is open.

    A file that is not a sound ledger, or that belongs to another board (`hardware`), is set aside
    under another name and a new one begun; `set_aside` names it. `path` None keeps it in memory,
    for a run that outlives nothing.
    """

    def __init__(self, path: Path | None, *, hardware: str = "") -> None:
        self.set_aside: Path | None = None
        self._path = path
        self._lock: IO[bytes] | None = None if path is None else lock(path)
        try:
            self._database = self._opened_or_replaced(hardware)
            with self._reading() as database:
                row = database.execute("SELECT id, elapsed, store FROM meta").fetchone()
                self.waiting, self.parked_now = self._numbers(database)
        except LedgerError:
            if self._lock is not None:
                self._lock.close()
            raise
        self.id, self.elapsed_seconds, self.store = str(row[0]), float(row[1]), str(row[2])

    waiting: int
    """Cells that the collector has not committed and may still take."""
    parked_now: int
    """Cells that are parked."""

    def _opened_or_replaced(self, hardware: str) -> sqlite3.Connection:
        try:
            return open_or_create(self._path, hardware)
        except Unfit as unfit:
            assert self._path is not None
            self.set_aside = put_away(self._path, unfit.kind)
            log.error("%s: %s; put away as %s", self._path, unfit, self.set_aside)
            return open_or_create(self._path, hardware)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._database
        except sqlite3.Error as error:
            raise LedgerError(f"ledger {self._path}: {error}; check the disk") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as database:
            with database:
                yield database
                numbers = self._numbers(database)
            self.waiting, self.parked_now = numbers

    def close(self) -> None:
        """Close the file and give up the lock."""
        try:
            with self._reading() as database:
                database.close()
        finally:
            if self._lock is not None:
                self._lock.close()

    @staticmethod
    def _numbers(database: sqlite3.Connection) -> tuple[int, int]:
        waiting, parked = database.execute("SELECT waiting, parked FROM meta").fetchone()
        return int(waiting), int(parked)

    def commit(
        self,
        cells: Iterable[Written] = (),
        entries: Mapping[str, Entry | None] = {},
        sessions: Mapping[str, int] = {},
        *,
        elapsed_seconds: float | None = None,
        absorbed: Iterable[Identity] = (),
    ) -> None:
        """Write revisions, pairing entries and line counts together.

        A revision that is not newer than the one held changes nothing. `absorbed` cells leave in
        the same transaction: their samples are in one of `cells`.
        """
        elapsed = self.elapsed_seconds if elapsed_seconds is None else elapsed_seconds
        with self._transaction() as transaction:
            transaction.executemany(
                "DELETE FROM cells WHERE producer = ? AND sequence = ?", absorbed
            )
            transaction.executemany(
                _INSERT, [(*row_of(cell), relayed, exposed) for cell, relayed, exposed in cells]
            )
            transaction.executemany(
                "DELETE FROM entries WHERE id = ?",
                [(key,) for key, entry in entries.items() if entry is None],
            )
            transaction.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?)",
                [(k, msgspec.msgpack.encode(entry)) for k, entry in entries.items() if entry],
            )
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
            transaction.execute("UPDATE meta SET elapsed = ?", (elapsed,))
        self.elapsed_seconds = elapsed

    def close_left_open(self) -> int:
        """Make every own cell that earlier runs left open final as it stands; return how many."""
        with self._transaction() as transaction:
            return transaction.execute(
                "UPDATE cells SET revision = revision + 1, final = 1"
                " WHERE NOT final AND NOT relayed"
            ).rowcount

    def due(self, limit: int) -> list[Held]:
        """Return cells that the collector has not committed, those once exposed first."""
        rows = self._rows(
            f"SELECT {COLUMNS}, exposed FROM cells WHERE {WAITING}"  # noqa: S608 - constants
            " ORDER BY (exposed > 0) DESC, start LIMIT ?",
            (limit,),
        )
        return [Held(cell_of(row[:-1]), row[-1]) for row in rows]

    def expose(self, revisions: Mapping[Identity, int]) -> None:
        """Mark revisions as perhaps handed to the broker, before they are."""
        with self._transaction() as transaction:
            transaction.executemany(_EXPOSE, [(r, *name) for name, r in revisions.items()])

    def acked(
        self, committed: Mapping[Identity, int], handed_over: Mapping[Identity, int] = {}
    ) -> int:
        """Take what the collector holds; a final cell (a relayed one, any) is then forgotten.

        Counted is at most the revision that was handed over, from here or, as `handed_over` says,
        from memory. Returns of how many own cells the
        ack says more than that, which only a forged one does (of a Monitor's cell the store may
        hold a later revision than the ledger, after a crash).
        """
        pairs = [(revision, *identity) for identity, revision in committed.items()]
        with self._transaction() as transaction:
            transaction.executemany(_EXPOSE, [(r, *name) for name, r in handed_over.items()])
            ahead = sum(
                transaction.execute(
                    "SELECT count(*) FROM cells"
                    " WHERE NOT relayed AND exposed < ? AND producer = ? AND sequence = ?",
                    pair,
                ).fetchone()[0]
                for pair in pairs
            )
            transaction.executemany(
                "UPDATE cells SET acked = max(acked, min(?, exposed))"
                " WHERE producer = ? AND sequence = ?",
                pairs,
            )
            transaction.executemany(
                "DELETE FROM cells WHERE producer = ? AND sequence = ?"
                " AND acked >= revision AND (final OR relayed)",
                committed,
            )
        return int(ahead)

    def remember_store(self, store: str) -> None:
        """Write down the id of the collector's store that acknowledges now."""
        with self._transaction() as transaction:
            transaction.execute("UPDATE meta SET store = ?", (store,))
        self.store = store

    def park(self, refused: Mapping[Identity, Refused]) -> int:
        """Set refused revisions aside with the reason; return how many of them were held.

        Only a revision that was handed over can have been refused.
        """
        with self._transaction() as transaction:
            return transaction.executemany(
                "UPDATE cells SET code = ?, reason = ?"
                " WHERE producer = ? AND sequence = ? AND revision = ? AND exposed >= revision",
                [(r.code, r.reason, *name, r.revision) for name, r in refused.items()],
            ).rowcount

    def parked(self, limit: int) -> list[Parked]:
        """Return the refused cells, oldest window first."""
        rows = self._rows(
            f"SELECT {COLUMNS}, code, reason FROM cells WHERE code IS NOT NULL"  # noqa: S608
            " ORDER BY start LIMIT ?",
            (limit,),
        )
        return [Parked(cell_of(row[:-2]), row[-2], row[-1]) for row in rows]

    def release(self) -> int:
        """Make all parked cells due again; return how many."""
        with self._transaction() as transaction:
            return transaction.execute(
                "UPDATE cells SET code = NULL, reason = NULL WHERE code IS NOT NULL"
            ).rowcount

    def coarsenable(self, narrower_than: int, limit: int) -> list[SealedCell]:
        """Return the oldest own final cells, never exposed, of windows narrower than that."""
        rows = self._rows(
            f"SELECT {COLUMNS} FROM cells WHERE {WAITING}"  # noqa: S608 - constants
            " AND (exposed > 0) = 0 AND final AND NOT relayed AND width < ?"
            " ORDER BY start LIMIT ?",
            (narrower_than, limit),
        )
        return [cell_of(row) for row in rows]

    def entries(self) -> list[tuple[str, Entry]]:
        """Return the predictions and labels that wait, by id."""
        return [(key, entry_of(entry)) for key, entry in self._rows("SELECT * FROM entries")]

    def sessions(self) -> dict[str, int]:
        """Return how many lines of each session are committed."""
        return dict(self._rows("SELECT session, lines FROM sessions"))

    def attributes(
        self, current: Mapping[str, str], wall_seconds: float | None
    ) -> dict[str, Attribute]:
        """Write down what the device says of itself now, and return since when each holds.

        A first value holds for all earlier windows; a change counts from the next whole UTC hour,
        or, while nobody knows the time (None), from when the collector hears of it. What is said no
        more is empty from then on.
        """
        known: dict[str, tuple[str, int | None]] = {
            name: (value, since) for name, value, since in self._rows("SELECT * FROM attributes")
        }
        hour = None if wall_seconds is None else int(-(-wall_seconds // HOUR_SECONDS))
        since = None if hour is None else hour * HOUR_SECONDS
        wanted = dict.fromkeys(known, "") | dict(current)
        changed = {n: (v, since) for n, v in wanted.items() if n in known and known[n][0] != v}
        changed |= {n: (v, 0) for n, v in wanted.items() if n not in known}
        if changed:
            with self._transaction() as transaction:
                transaction.executemany(
                    "INSERT OR REPLACE INTO attributes VALUES (?, ?, ?)",
                    [(name, *said) for name, said in changed.items()],
                )
        return {name: Attribute(*said) for name, said in (known | changed).items()}

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._reading() as database:
            return database.execute(query, values).fetchall()
