"""The embedded store: one DuckDB file, one process at a time.

A commit is on the disk when it returns: DuckDB writes its log and calls fdatasync first.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from threading import Condition, Lock
from typing import TYPE_CHECKING

import duckdb

from edgemse.cells import Identity
from edgemse.errors import (
    StoreError,
    StoreLockedError,
    StoreUnreachableError,
    StoreVersionError,
)
from edgemse.stats.grouped import merge_histograms
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stores import statements
from edgemse.stores.arrow import Columns
from edgemse.stores.base import Batch, Key, Reading, Rows, Selection, Writing
from edgemse.stores.engine import ID_BYTES, Engine
from edgemse.stores.recovery import LOG_FAILURE, Count, clear_unmade, log_of, mend, set_aside
from edgemse.stores.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DuckDBStore"]

log = logging.getLogger(__name__)

MEMORY = ":memory:"
OPEN_MAX = 100_000
"""Cells that still grow, and that are remembered; past that they are forgotten."""
LOCKED = re.compile("Could not set lock|Conflicting lock")
DAMAGED = re.compile("Corrupt database file|not a valid DuckDB database")
READERS_SECONDS = 2.0
"""So long it is waited for the readers of a database that is to be opened again."""


class _State(Enum):
    """What the open database is good for."""

    SOUND = "reading and writing"
    READABLE = "reading"
    INVALID = "nothing: DuckDB wants it opened again"


class DuckDBStore(Engine):
    """The Store in a DuckDB file; see edgemse.stores.base."""

    dialect = "duckdb"
    alone = True

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        now: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(now)
        self.path = path
        self.where = str(path)
        self._random_bytes = random_bytes
        self._writing = Lock()
        self._opening = Condition()
        self._cursors = 0
        self._state = _State.SOUND
        self._reason = ""
        """Why it can only be read."""
        self._connection = _mended(path, now) if not read_only else _connect(path, read_only=True)
        self._commits = 0
        self._open: set[Identity] = set()
        """Cells that were stored and still grow: revisions of them will come."""
        self._count: Count | None = None
        try:
            self._prepare(random_bytes, read_only=read_only)
            if not read_only and str(path) != MEMORY:
                self._take_stock(Count(path))
        except BaseException:
            self._connection.close()
            raise

    def _take_stock(self, count: Count) -> None:
        """Compare the transactions that the store has with those that there were."""
        with self.reading() as reading:
            ((self._commits,),) = reading.rows(statements.COMMITS)
        missing = count.read() - self._commits
        self._count = count
        if missing > 0:
            log.error(
                "the last %d transactions of the store %s are missing: its log was cut, removed or"
                " damaged, or the file is an older copy. What was acknowledged in them the devices"
                " have forgotten; it can only be in a copy of the store",
                missing,
                self.path,
            )
            with self.writing() as writing:
                writing.execute(statements.COUNT_MISSING, (missing,))
        # What the log still held goes into the file now, so that a log that is lost later costs
        # less, and nothing is appended to one that was cut.
        with self._failing("cannot be prepared"):
            self._connection.execute("CHECKPOINT")
        count.write(self._commits)

    def commit(self, batch: Batch) -> dict[Identity, int]:
        """Write the batch; see Store.commit.

        Cells that all seem to be new are inserted, which asks the key's index; only if one is there
        already are they all compared with what is there: DuckDB makes a join of an upsert, which
        reads the names of all cells and takes three times as long to plan as a batch to write.
        """
        cells = batch.cells
        held: dict[Identity, int] | None = None
        if self._open.isdisjoint(cells.identities):
            with suppress(_AlreadyThereError):
                held = self._write(batch, "")
        if held is None:
            held = self._write(batch, statements.KEEP_HIGHEST)
        if len(self._open) > OPEN_MAX:
            self._open.clear()
        for identity, final in zip(cells.identities, cells.finals, strict=True):
            if not final:
                self._open.add(identity)
            else:
                self._open.discard(identity)
        return held

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Open one consistent view; see Store.reading."""
        with self._failing("cannot be read"), self._borrowed() as cursor:
            cursor.begin()
            yield _Cursor(cursor)

    @contextmanager
    def _transaction(self) -> Iterator[Writing]:
        with self._writing, self._failing("cannot be written"):
            self._be_writable()
            self._connection.begin()
            try:
                cursor = _Cursor(self._connection)
                yield cursor
                if self._count is not None:
                    cursor.execute(statements.COUNT_COMMIT, (self._commits + 1,))
                self._connection.commit()
            except BaseException:
                with suppress(duckdb.Error):
                    self._connection.rollback()
                raise
            if self._count is not None:
                self._commits += 1
                self._count.write(self._commits)

    def close(self) -> None:
        """Write the log into the file and let go of it."""
        with self._writing, self._failing("cannot be closed"):
            self._connection.close()
            if self._count is not None:
                self._count.close()
                self._count = None

    def copy_to(self, path: Path) -> str:
        """Write a copy of one moment into a new file; see Store.copy_to."""
        name = self._random_bytes(ID_BYTES).hex()
        quoted = str(path).replace("'", "''")
        with self._failing("cannot be copied"):
            with self._borrowed() as cursor:
                found = cursor.execute("SELECT current_database()").fetchone()
                assert found is not None
                own = found[0].replace('"', '""')
                cursor.execute(f"ATTACH '{quoted}' AS \"{name}\" (READ_WRITE)")
                try:
                    cursor.execute(f'COPY FROM DATABASE "{own}" TO "{name}"')
                finally:
                    cursor.execute(f'DETACH "{name}"')
            with _connect(path, read_only=False) as copy:
                copy.execute(statements.NOTE_COPY, (self._now_ms(),))
                copy.execute(statements.RENAME_STORE, (name,))
                copy.execute("CHECKPOINT")
        return name

    @contextmanager
    def _borrowed(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor, of the database opened again if that is what it needs."""
        if self._state is _State.INVALID:
            with self._writing:
                if self._state is _State.INVALID:
                    self._open_again()
        with self._opening:
            cursor = self._connection.cursor()
            self._cursors += 1
        try:
            yield cursor
        finally:
            with self._opening:
                cursor.close()
                self._cursors -= 1
                self._opening.notify_all()

    def _be_writable(self) -> None:
        """Open the database again if the disk was full; StoreError if it still is."""
        if self._state is not _State.SOUND:
            self._open_again()
        if self._state is not _State.SOUND:
            raise StoreError(
                f"store {self.path} can only be read: {self._reason}; make room on its disk"
            )

    def _open_again(self) -> None:
        """Open it for writing, or at least for reading, after a failure that DuckDB calls fatal.

        That is what a checkpoint is to it for which the disk has no room.
        """
        self._state = _State.INVALID  # new readers wait
        with self._opening:
            # One file that is open twice in a process loses its lock when one of the two closes.
            if not self._opening.wait_for(lambda: not self._cursors, READERS_SECONDS):
                raise StoreError(
                    f"store {self.path} is opened again once its {self._cursors} readers have ended"
                )
            self._connection.close()
            try:
                self._connection = _mended(self.path, self._now)
                self._connection.execute("CHECKPOINT")
                ((self._commits,),) = self._connection.execute(statements.COMMITS).fetchall()
            except (duckdb.Error, StoreError) as error:
                self._reason = str(error).strip().partition("\n")[0]
                self._connection.close()
                self._connection = _connect(self.path, read_only=True)
                self._state = _State.READABLE
            else:
                self._state = _State.SOUND
                log.warning("the store %s can be written again", self.path)

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except duckdb.ConstraintException as error:
            text = _first_line(error)
            raise _AlreadyThereError(f"store {self.path} {what}: {text}") from error
        except duckdb.Error as error:
            if isinstance(error, duckdb.FatalException) and str(self.path) != MEMORY:
                self._state = _State.INVALID
            raise StoreError(f"store {self.path} {what}: {_first_line(error)}") from error


class _AlreadyThereError(StoreError):
    """A row whose key is there already."""


class _Cursor:
    """A Reading and a Writing over one DuckDB transaction."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        return _fetched(self._cursor.execute(sql, parameters))

    def arrays(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[NDArray[np.float64] | NDArray[np.int64]]:
        return list(self._cursor.execute(sql, parameters).fetchnumpy().values())

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        touched = self._cursor.execute(sql, parameters).fetchone()
        return int(touched[0]) if touched else 0

    def lock(
        self, table: Table, keys: Sequence[object] | None = None, *, shared: bool = False
    ) -> None:
        """Nothing: one transaction writes at a time."""

    def put(self, table: Table, rows: Iterable[Row], on_conflict: str = "") -> Rows:
        # DuckDB finds a variable by its name, and reads Arrow where it lies: lists as parameters
        # cost six times as much, a name that is registered first a millisecond.
        try:
            offered_rows = rows if isinstance(rows, Columns) else Columns(table.columns, rows)
        except ValueError as error:
            raise StoreError(f"the table {table.name} cannot be written: {error}") from error
        if not len(offered_rows):
            return Rows((), [])
        source = f"SELECT {', '.join(table.columns)} FROM offered_rows"  # noqa: S608
        return _fetched(self._cursor.execute(statements.insert(table, source, on_conflict)))

    def to_parquet(self, sql: str, parameters: Sequence[object], path: Path) -> None:
        self._cursor.execute(statements.into_parquet(sql, path), parameters)

    def histograms(
        self, selection: Selection, column: str = "histogram"
    ) -> dict[Key, ResidualHistogram | None]:
        sql = statements.numbered_histograms(selection, column)
        keys: list[Key] = [()]
        parameters = list(selection.parameters)
        if selection.keys:
            keys = self.rows(statements.group_keys(selection), parameters).rows
            parameters *= 2
        try:
            merged = merge_histograms(self._cursor.sql(sql, params=parameters))
        except RuntimeError as error:
            raise StoreError(f"the histograms of a store cannot be read: {error}") from error
        return {keys[number]: each for number, each in merged.items()}

    def interrupt(self) -> None:
        self._cursor.interrupt()


def _fetched(result: duckdb.DuckDBPyConnection) -> Rows:
    return Rows(tuple(column[0] for column in result.description), result.fetchall())


def _mended(path: Path, now: Callable[[], float]) -> duckdb.DuckDBPyConnection:
    """Open the store for writing, without what cannot be read of its log."""
    mended = False
    while log_of(path).exists() and path.exists():
        # Only read at first: what DuckDB takes for a log's end, it cuts off when it may write.
        try:
            with _connect(path, read_only=True) as reading:
                held = _commits(reading)
        except StoreUnreachableError as error:
            if not mend(path, str(error.__cause__), now()):
                raise
            mended = True
        else:
            if held < Count.of(path) and not mended:
                set_aside(path, now())
            break
    try:
        return _connect(path, read_only=False)
    except StoreUnreachableError:
        if not clear_unmade(path):
            raise
        return _connect(path, read_only=False)


def _commits(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many transactions the store has had; 0 if there is no schema yet."""
    if ("counters",) not in connection.execute(statements.TABLES).fetchall():
        return 0
    found = connection.execute(statements.COMMITS).fetchone()
    return int(found[0]) if found else 0


def _connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(path), read_only=read_only)
    except duckdb.Error as error:
        text = _first_line(error)
        if LOCKED.search(text):
            holder = re.search(r"held in (.*?\(PID \d+\))", text)
            raise StoreLockedError(
                f"store {path} is held by {holder[1] if holder else 'another process'};"
                " stop it first, or go through it with --from http://HOST:PORT (its --http)"
            ) from None
        if "version number" in text:
            raise StoreVersionError(
                f"store {path} was written by a newer DuckDB than {duckdb.__version__};"
                " use the edgemse that wrote it, or a newer one"
            ) from None
        advice = ""
        if DAMAGED.search(text):
            advice = "; the file itself is damaged, or no store: put a copy of it in its place"
        elif LOG_FAILURE.search(text):
            advice = (
                "; its log is damaged: start edgemse collector on it, which keeps what is sound"
            )
        raise StoreUnreachableError(f"store {path} cannot be opened: {text}{advice}") from error


def _first_line(error: duckdb.Error) -> str:
    return str(error).strip().partition("\n")[0]
