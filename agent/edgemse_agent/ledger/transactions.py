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
from typing import Any, NamedTuple

from edgemse.cells import Identity, SealedCell
from edgemse.errors import LedgerError
from edgemse.presence import Attribute
from edgemse.times import HOUR_SECONDS
from edgemse_agent.ledger.file import FileLock, connect, create
from edgemse_agent.ledger.opening import NoRoomError, Opened, open_ledger, put_away_files
from edgemse_agent.ledger.rows import (
    Defect,
    Held,
    Parked,
    Refused,
    Written,
    cell_of,
    checked_text,
    entry_of,
    entry_row,
    key_of,
    made,
    printable,
    session_row,
    written_row,
)
from edgemse_agent.ledger.salvage import Taken, take_over
from edgemse_agent.ledger.schema import (
    COLUMNS,
    META_UPDATE,
    NUMBERS,
    WAITING,
    guarded,
    inserted,
    stamped,
)
from edgemse_agent.ledger.sound import UNREADABLE
from edgemse_agent.pairing import Entry

__all__ = ["Ledger"]

log = logging.getLogger(__name__)

SESSIONS_MAX = 1_000
"""Sessions remembered; past that the one least lately used is forgotten."""
DEFECTS_MAX = 1_000

_SET_NEWER = stamped(
    revision="excluded.revision",
    final="excluded.final",
    state="excluded.state",
    coverage="excluded.coverage",
    exposed="max(exposed, excluded.exposed)",
    code="NULL",
    reason="NULL",
)
_INSERT = (
    f"INSERT {inserted('cells')} ON CONFLICT DO UPDATE SET {_SET_NEWER}"
    " WHERE excluded.revision > revision"
)
_NAMED = "producer = ?2 AND sequence = ?3"
_EXPOSE = f"UPDATE cells SET {stamped(exposed='max(exposed, ?1)')} WHERE {_NAMED}"  # noqa: S608
_ACKED = stamped(acked="max(acked, min(?1, exposed))")
_ACK = f"UPDATE cells SET {_ACKED} WHERE {_NAMED}"  # noqa: S608 - constants
_PARK = (
    f"UPDATE cells SET {stamped(code='?4', reason='?5')}"  # noqa: S608 - constants
    f" WHERE {_NAMED} AND revision = ?1 AND (exposed >= revision OR ?6)"
)


class _About(NamedTuple):
    """The guarded columns of `meta`."""

    schema: int
    id: str
    hardware: str
    elapsed: float
    store: str
    commits: int


class _Numbers(NamedTuple):
    cells: int
    relayed: int
    waiting: int
    parked: int
    entries: int


class Ledger:
    """One open ledger, locked for this process for as long as it is open.

    A file that is not a sound ledger, or that belongs to another board (`hardware`), is set aside
    under another name and a new one begun; `set_aside` names it, and `taken` says what was read out
    of it, `commits_lost` how many of the last commits it lacked. `path` None keeps the ledger in
    memory, for a run that outlives nothing. Where the disk has no room to begin one, each
    transaction tries again, and fails until there is.
    """

    def __init__(self, path: Path | None, *, hardware: str = "") -> None:
        self.set_aside: Path | None = None
        self.taken: list[Taken] = []
        self.commits_lost = 0
        self._path, self._hardware = path, hardware
        self._to_begin = False
        self._lock = None if path is None else FileLock(path)
        try:
            self._database = self._in_memory() if path is None else self._on_disk(path)
            self._about = self._read_about()
            with self._reading() as database:
                self._numbers = self._read_numbers(database)
        except LedgerError:
            if self._lock is not None:
                self._lock.close()
            raise

    @property
    def id(self) -> str:
        """What clients know the ledger by: another one has not seen their lines."""
        return self._about.id

    @property
    def elapsed_seconds(self) -> float:
        """Seconds that agents of this ledger had run at the last commit."""
        return self._about.elapsed

    @property
    def store(self) -> str:
        """The id of the collector's store that acknowledged last, empty before any did."""
        return self._about.store

    @property
    def waiting(self) -> int:
        """Cells that the collector has not committed and may still take."""
        return self._numbers.waiting

    @property
    def parked_now(self) -> int:
        """Cells that are parked."""
        return self._numbers.parked

    @property
    def relayed(self) -> int:
        """Cells of Monitors, parked ones included."""
        return self._numbers.relayed

    @property
    def own(self) -> int:
        """Cells that agents of this ledger made, parked ones included."""
        return self._numbers.cells - self._numbers.relayed

    def _in_memory(self) -> sqlite3.Connection:
        database = connect(None)
        create(database, self._hardware)
        return database

    def _on_disk(self, path: Path) -> sqlite3.Connection:
        assert self._lock is not None
        try:
            opened = open_ledger(path, self._hardware, self._lock)
        except NoRoomError as error:
            log.error("%s; measuring in memory until there is room", error)
            self.set_aside, self._to_begin = error.set_aside, True
            return self._in_memory()
        return self._keep(opened)

    def _keep(self, opened: Opened) -> sqlite3.Connection:
        self.set_aside = opened.set_aside or self.set_aside
        self.taken += opened.taken
        self.commits_lost += opened.commits_lost
        return opened.database

    def _begin(self) -> None:
        """Begin the ledger on the disk, which had no room for it until now."""
        assert self._path is not None
        assert self._lock is not None
        opened = open_ledger(self._path, self._hardware, self._lock, begun_as=self.id)
        self._database.close()
        self._database, self._to_begin = self._keep(opened), False
        self._about = self._read_about()

    def _read_about(self) -> _About:
        (row,) = self._rows(f"SELECT {guarded('meta')} FROM meta")  # noqa: S608 - constants
        return _About(*row)

    @staticmethod
    def _read_numbers(database: sqlite3.Connection) -> _Numbers:
        return _Numbers(*database.execute(f"SELECT {NUMBERS} FROM meta").fetchone())  # noqa: S608

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._database
        except sqlite3.Error as error:
            raise LedgerError(f"ledger {self._path}: {error}; check the disk") from error

    @contextmanager
    def _transaction(self, **changes: Any) -> Iterator[sqlite3.Connection]:
        """Commit what is done inside, and `changes` of what the ledger says of itself."""
        if self._to_begin:
            self._begin()
        about = self._about._replace(commits=self._about.commits + 1, **changes)
        with self._reading() as database:
            with database:
                yield database
                database.execute(META_UPDATE, about)
                numbers = self._read_numbers(database)
            self._about, self._numbers = about, numbers
        if self._lock is not None:
            self._lock.note(about.id, about.commits)

    def close(self) -> None:
        """Close the file and give up the lock."""
        try:
            with self._reading() as database:
                database.close()
        finally:
            if self._lock is not None:
                self._lock.close()

    def adopt(self) -> list[Taken]:
        """Bring what can be read in every file put away into delivery, each file once.

        It is for a person to say: whoever else has the same file (a cloned card) must never run.
        """
        assert self._path is not None, "a ledger in memory has no files beside it"
        taken = []
        for file in put_away_files(self._path, ("corrupt", "newer", "foreign")):
            with self._transaction() as database:
                try:
                    each = take_over(database, file, self._hardware, by_hand=True)
                except (OSError, *UNREADABLE) as error:
                    raise LedgerError(f"{file}: cannot be read: {error}") from error
            if each is not None:
                taken.append(each)
        return taken

    def commit(
        self,
        cells: Iterable[Written] = (),
        entries: Mapping[str, Entry | None] = {},
        sessions: Mapping[str, int] = {},
        *,
        elapsed_seconds: float | None = None,
        absorbed: Iterable[Identity] = (),
    ) -> list[Defect]:
        """Write revisions, pairing entries and line counts together.

        A revision that is not newer than the one held changes nothing. `absorbed` cells leave in
        the same transaction: their samples are in one of `cells`. Returns what no ledger could
        write, or read again: it is set aside in the same transaction, so that the rest is written.
        """
        elapsed = self.elapsed_seconds if elapsed_seconds is None else float(elapsed_seconds)
        defects: list[Defect] = []
        rows = made("cell", cells, lambda w: w.cell.identity, written_row, defects)
        ids = made("id", entries.items(), key_of, entry_row, defects)
        lines = made(
            "session", sessions.items(), key_of, lambda s: session_row(s, elapsed), defects
        )
        with self._transaction(elapsed=elapsed) as transaction:
            transaction.executemany(
                "DELETE FROM cells WHERE producer = ? AND sequence = ?", absorbed
            )
            transaction.executemany(_INSERT, rows)
            transaction.executemany(
                "DELETE FROM entries WHERE id = ?", [(key,) for key, entry in ids if entry is None]
            )
            transaction.executemany(
                f"INSERT {inserted('entries')}"
                " ON CONFLICT DO UPDATE SET entry = excluded.entry, crc = excluded.crc",
                [row for row in ids if row[1]],
            )
            transaction.executemany(f"INSERT OR REPLACE {inserted('sessions')}", lines)
            if sessions:
                transaction.execute(
                    "DELETE FROM sessions WHERE session IN (SELECT session FROM sessions"
                    " ORDER BY touched DESC LIMIT -1 OFFSET ?)",
                    (SESSIONS_MAX,),
                )
            if defects:
                transaction.executemany(
                    "INSERT OR REPLACE INTO defects VALUES (?, ?, ?, ?)", defects[:DEFECTS_MAX]
                )
        return defects

    def defects(self) -> list[Defect]:
        """Return what could not be written, for people to look at."""
        return [Defect(*row) for row in self._rows("SELECT * FROM defects")]

    def close_left_open(self) -> int:
        """Make every own cell that earlier runs left open final as it stands; return how many."""
        with self._transaction() as transaction:
            return transaction.execute(
                f"UPDATE cells SET {stamped(revision='revision + 1', final='1')}"  # noqa: S608
                " WHERE NOT final AND NOT relayed"
            ).rowcount

    def due(self, limit: int) -> list[Held]:
        """Return cells that the collector has not committed, those once exposed first."""
        rows = self._rows(
            f"SELECT {COLUMNS}, exposed, acked FROM cells WHERE {WAITING}"  # noqa: S608 - constants
            " ORDER BY (exposed > 0) DESC, start LIMIT ?",
            (limit,),
        )
        return [Held(cell_of(row[:-2]), row[-2], row[-1]) for row in rows]

    def expose(self, revisions: Mapping[Identity, int]) -> None:
        """Mark revisions as perhaps handed to the broker, before they are."""
        with self._transaction() as transaction:
            transaction.executemany(_EXPOSE, [(r, *name) for name, r in revisions.items()])

    def acked(
        self, committed: Mapping[Identity, int], handed_over: Mapping[Identity, int] = {}
    ) -> int:
        """Take what the collector holds; a final cell (a relayed one, any) is then forgotten.

        Counted is at most the revision that was handed over, from here or, as `handed_over` says,
        from memory. Returns of how many own cells the ack says more than that, which only a forged
        one does (of a Monitor's cell the store may hold a later revision than the ledger, after a
        crash).
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
            transaction.executemany(_ACK, pairs)
            transaction.executemany(
                "DELETE FROM cells WHERE producer = ? AND sequence = ?"
                " AND acked >= revision AND (final OR relayed)",
                committed,
            )
        return int(ahead)

    def remember_store(self, store: str) -> None:
        """Write down the id of the collector's store that acknowledges now."""
        with self._transaction(store=checked_text(store)):
            return

    def park(self, refused: Mapping[Identity, Refused], *, unsent: bool = False) -> int:
        """Set refused revisions aside with the reason; return how many of them were held.

        Only a revision that was handed over can have been refused, unless it is `unsent`.
        """
        with self._transaction() as transaction:
            return transaction.executemany(
                _PARK,
                [
                    (r.revision, *name, r.code, printable(r.reason), unsent)
                    for name, r in refused.items()
                ],
            ).rowcount

    def let_go_parked(self, keep: int) -> int:
        """Forget the parked cells of the oldest windows past so many; return how many."""
        with self._transaction() as transaction:
            return transaction.execute(
                "DELETE FROM cells WHERE (producer, sequence) IN (SELECT producer, sequence"
                " FROM cells WHERE code IS NOT NULL ORDER BY start LIMIT max(0, ?))",
                (self.parked_now - keep,),
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
                f"UPDATE cells SET {stamped(code='NULL', reason='NULL')}"  # noqa: S608 - constants
                " WHERE code IS NOT NULL"
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
        rows = self._rows("SELECT id, entry FROM entries")
        return [(key, entry_of(entry)) for key, entry in rows]

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
            name: (value, since)
            for name, value, since in self._rows("SELECT name, value, since FROM attributes")
        }
        hour = None if wall_seconds is None else int(-(-wall_seconds // HOUR_SECONDS))
        since = None if hour is None else hour * HOUR_SECONDS
        wanted = dict.fromkeys(known, "") | dict(current)
        changed = {n: (v, since) for n, v in wanted.items() if n in known and known[n][0] != v}
        changed |= {n: (v, 0) for n, v in wanted.items() if n not in known}
        if changed:
            with self._transaction() as transaction:
                transaction.executemany(
                    f"INSERT OR REPLACE {inserted('attributes')}",
                    [(name, *said) for name, said in changed.items()],
                )
        return {name: Attribute(*said) for name, said in (known | changed).items()}

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._reading() as database:
            return database.execute(query, values).fetchall()
