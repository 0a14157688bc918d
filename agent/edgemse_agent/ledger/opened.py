"""An open ledger: its file, what it says of itself, and how a transaction is made.

WAL mode with synchronous=FULL: what a transaction has returned from is on the disk. Methods raise
LedgerError, having changed nothing, and nothing else.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from edgemse.errors import LedgerError
from edgemse.presence import Attribute
from edgemse_agent.calendar import Timeline
from edgemse_agent.ledger.attributes import changed
from edgemse_agent.ledger.file import FileLock, connect, create
from edgemse_agent.ledger.opening import NoRoomError, Opened, open_ledger, put_away_files
from edgemse_agent.ledger.owed import Owed
from edgemse_agent.ledger.rows import checked_text
from edgemse_agent.ledger.salvage import Taken, take_over
from edgemse_agent.ledger.schema import META_UPDATE, NUMBERS, guarded, inserted
from edgemse_agent.ledger.sound import UNREADABLE

__all__ = ["OpenLedger", "timeline_columns"]

log = logging.getLogger(__name__)


class _About(NamedTuple):
    """The guarded columns of `meta`."""

    schema: int
    id: str
    hardware: str
    elapsed: float
    store: str
    commits: int
    boot: str
    clock_offset: float
    until: float
    known: float


class _Numbers(NamedTuple):
    cells: int
    relayed: int
    waiting: int
    parked: int
    entries: int


class OpenLedger:
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
        self._to_begin, self._owed = False, Owed()
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
    def commits(self) -> int:
        """Transactions that this ledger has committed, in all its runs."""
        return self._about.commits

    @property
    def store(self) -> str:
        """The id of the collector's store that acknowledged last, empty before any did."""
        return self._about.store

    @property
    def timeline(self) -> Timeline:
        """What the agent's time was at the last commit."""
        about = self._about
        return Timeline(about.boot, about.clock_offset, about.until, about.known)

    @property
    def waiting(self) -> int:
        """Cells that the collector has not committed and may still take."""
        return self._numbers.waiting - len(self._owed.answered)

    @property
    def owes(self) -> bool:
        """Whether something was acknowledged that the next transaction writes down."""
        return bool(self._owed.acked)

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
                self._owed.write(database)
                yield database
                database.execute(META_UPDATE, about)
                numbers = self._read_numbers(database)
            self._about, self._numbers, self._owed = about, numbers, Owed()
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

    def remember_store(self, store: str) -> None:
        """Write down the id of the collector's store that acknowledges now."""
        with self._transaction(store=checked_text(store)):
            return

    def attributes(
        self, current: Mapping[str, str], wall_seconds: float | None
    ) -> dict[str, Attribute]:
        """Write down what the device says of itself now, and return since when each holds."""
        known: dict[str, tuple[str, int | None]] = {
            name: (value, since)
            for name, value, since in self._rows("SELECT name, value, since FROM attributes")
        }
        news = changed(known, current, wall_seconds)
        if news:
            with self._transaction() as transaction:
                transaction.executemany(
                    f"INSERT OR REPLACE {inserted('attributes')}",
                    [(name, *said) for name, said in news.items()],
                )
        return {name: Attribute(*said) for name, said in (known | news).items()}

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._reading() as database:
            return database.execute(query, values).fetchall()


def timeline_columns(timeline: Timeline | None) -> dict[str, Any]:
    """Return the columns of `meta` that a timeline is in."""
    return {} if timeline is None else dict(zip(_About._fields[-4:], timeline, strict=True))
