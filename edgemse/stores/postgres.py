"""The store of many: one PostgreSQL database, any number of collectors and readers.

A commit is in the server's log on its disk when it returns. Whoever writes locks first what others
may write too, always in the same order; where the server still finds a deadlock, the commit fails
and is tried again.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import count
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import psycopg
from psycopg import errors as told
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from edgemse.errors import (
    StoreError,
    StoreLockedError,
    StoreRefusedError,
    StoreUnreachableError,
    StoreVersionError,
)
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stores import statements
from edgemse.stores.arrays import OIDS, Encoded, EncodedDumper, encoded
from edgemse.stores.arrow import Columns
from edgemse.stores.base import Key, Reading, Rows, Selection, Writing
from edgemse.stores.copying import columns_of, histograms_of
from edgemse.stores.engine import Engine
from edgemse.stores.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PostgresStore"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

VERSION_MIN = 15
DEFAULTS = {
    "application_name": "edgemse",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Of libpq, where the address says nothing else: seconds, but for the last, milliseconds. A server
that is gone without a word is given up after half a minute."""
IDLE_MAX = 8
"""Connections that are kept for the next reader or writer."""
FETCHED_ROWS = 10_000
"""Of an export, at once: about 4 MB."""
CANCEL_SECONDS = 5.0
"""So long a server may take to hear that a statement is to end."""
WRITE = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
    # A collector that is stopped, not ended, in the middle holds up the others no longer than that.
    " SET LOCAL idle_in_transaction_session_timeout = '30s'; SET LOCAL lock_timeout = '60s'"
)
READ = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    # Sums of doubles depend on their order. Workers that each compute the origin of a group for
    # themselves (fleet/merge.sql) get two origins, and the group comes out in two halves.
    " SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL synchronize_seqscans = off;"
    # Compiling what is asked once takes longer than it saves; groups are kept by hash, not sorted.
    " SET LOCAL jit = off; SET LOCAL work_mem = '64MB'; SAVEPOINT asked"
)
AGAIN = "ROLLBACK TO SAVEPOINT asked"
FLUSHING = "SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_catalog', true)"
"""Multiplication and division become those of the schema (0004): what is too small is 0."""
SETTINGS = (
    "SELECT current_setting('server_encoding'), current_setting('fsync'),"
    " CASE WHEN current_setting('synchronous_commit') = 'off'"
    " THEN set_config('synchronous_commit', 'on', false) END"
)
ONE_AT_A_TIME = (
    "SELECT pg_advisory_lock(hashtextextended('edgemse ' || coalesce(current_schema(), ''), 0))"
)
NOT_NOW = re.compile(
    "starting up|shutting down|not yet accepting|too many|remaining connection slots|recovery"
)
REFUSED = re.compile("FATAL|authentication|no password supplied|certificate|SSL")


class PostgresStore(Engine):
    """The Store in a PostgreSQL database; see edgemse.stores.base.

    Thread safety: any number of threads read and write, each over a connection of its own.

    Args:
        address: postgresql://..., with everything that libpq takes; what is missing comes from the
            PG... variables, a service file or a password file.
        read_only: only `reading` will be used; the role needs no right but SELECT.
        must_exist: the schema is brought to this version, but never made.
        now: seconds since 1970-01-01 UTC.
        random_bytes: where a new store's name comes from.
    """

    dialect = "postgres"
    alone = False

    def __init__(
        self,
        address: str,
        *,
        read_only: bool = False,
        must_exist: bool = False,
        now: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(now)
        self._conninfo, self.where = _understood(address)
        self._idle: list[Connection] = []
        self._guard = Lock()
        self._closed = False
        try:
            if read_only:
                self._prepare(random_bytes, read_only=True)
            else:
                with self._one_at_a_time():
                    self._prepare(random_bytes, read_only=False, must_exist=must_exist)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Open one consistent view; see Store.reading."""
        with self._session(READ, "cannot be read") as connection:
            yield _Reader(connection)

    @contextmanager
    def _transaction(self) -> Iterator[Writing]:
        with self._session(WRITE, "cannot be written") as connection:
            yield _Cursor(connection)

    def copy_to(self, path: Path) -> str:
        """Raise StoreError: a copy of a database is PostgreSQL's to make; see Store.copy_to."""
        raise StoreError(
            f"store {self.where} cannot be copied into {path.name}: a database is copied with"
            " pg_dump (docs/backup.md), or written as Parquet with edgemse export"
        )

    def close(self) -> None:
        """Let go of all connections, those in use once they are given back."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _session(self, begin: str, what: str) -> Iterator[Connection]:
        with self._failing(what):
            connection = self._begun(begin)
            try:
                yield connection
                # A transaction in which a statement failed ends without an error, and undone.
                if connection.execute("COMMIT").statusmessage != "COMMIT":
                    raise StoreError(f"store {self.where} {what}: a statement before has failed")
            except BaseException:
                with suppress(psycopg.Error):
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._give_back(connection)

    def _begun(self, begin: str) -> Connection:
        """Return a connection in a new transaction: nothing is lost where an old one is dead."""
        while True:
            with self._guard:
                connection = self._idle.pop() if self._idle else None
            fresh = connection is None
            connection = connection or self._connected()
            try:
                connection.execute(begin)
            except psycopg.OperationalError:
                connection.close()
                if fresh:
                    raise
            else:
                return connection

    def _give_back(self, connection: Connection) -> None:
        with self._guard:
            idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            if idle and not self._closed and len(self._idle) < IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def _connected(self) -> Connection:
        try:
            connection: Connection = psycopg.connect(self._conninfo, autocommit=True)
        except psycopg.OperationalError as error:
            raise self._not_connected(_first_line(error)) from None
        connection.adapters.register_dumper(Encoded, EncodedDumper)
        try:
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: Connection) -> None:
        version = connection.info.server_version // 10_000
        if version < VERSION_MIN:
            raise StoreVersionError(
                f"store {self.where} is in PostgreSQL {version}; wanted {VERSION_MIN} or newer"
            )
        row = connection.execute(SETTINGS).fetchone()
        assert row is not None
        if row[0] != "UTF8":
            raise StoreError(
                f"store {self.where} is in a database of encoding {row[0]}; wanted UTF8"
                " (CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0)"
            )
        if row[1] != "on":
            log.warning(
                "the PostgreSQL server of store %s runs with fsync = off: when its machine fails,"
                " what was acknowledged is lost",
                self.where,
            )

    def _not_connected(self, text: str) -> StoreError:
        if REFUSED.search(text) and not NOT_NOW.search(text):
            return StoreRefusedError(
                f"store {self.where} refuses the connection: {text}; check the role, its password"
                " (PGPASSFILE, PGPASSWORD or a service) and the database's name"
            )
        return StoreUnreachableError(
            f"store {self.where} cannot be reached: {text}; check the address, and that PostgreSQL"
            " runs there"
        )

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Let no other collector make or change the schema meanwhile."""
        with self._failing("cannot be prepared"):
            connection = self._connected()
            try:
                connection.execute(ONE_AT_A_TIME)
                yield
            finally:
                connection.close()

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            text = _first_line(error)
            raise _kind(error)(f"store {self.where} {what}: {text}{_advice(error)}") from error
        except UnicodeEncodeError as error:
            raise StoreError(f"store {self.where} {what}: {error}") from error


class _Cursor:
    """A Writing over one transaction, and what a Reading has in common with it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = psycopg.RawCursor(connection)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        found = self._cursor.execute(_numbered(sql), list(parameters), binary=True)
        assert found.description is not None, sql
        return Rows(tuple(column.name for column in found.description), found.fetchall())

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        if parameters:
            return self._cursor.execute(_numbered(sql), list(parameters)).rowcount
        return self._cursor.execute(sql.encode()).rowcount  # or many, as a migration has them

    def lock(
        self, table: Table, keys: Sequence[object] | None = None, *, shared: bool = False
    ) -> None:
        if keys is None:
            self.execute(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE")
            return
        self.execute(f"LOCK TABLE {table.name} IN ROW EXCLUSIVE MODE")
        if keys:
            (key,) = table.key
            chosen = f"{key} = ANY(?::{table.columns[key]}[]) ORDER BY {key}"
            how = "SHARE" if shared else "NO KEY UPDATE"
            sql = f"SELECT 1 FROM {table.name} WHERE {chosen} FOR {how}"  # noqa: S608
            self.execute(sql, (list(keys),))

    def put(self, table: Table, rows: Iterable[Row], on_conflict: str = "") -> Rows:
        # Sorted, so that two who write the same rows wait for each other in one order.
        if table.key:
            places = [list(table.columns).index(name) for name in table.key]
            rows = sorted(rows, key=itemgetter(*places))
        try:
            columns = list(map(encoded, table.columns.values(), zip(*rows, strict=True)))
        except ValueError as error:
            raise StoreError(f"the table {table.name} cannot be written: {error}") from error
        if not columns:
            return Rows((), [])
        lists = ", ".join(f"unnest(?::{kind}[])" for kind in table.columns.values())
        sql = statements.insert(table, f"SELECT {lists}", on_conflict)
        if "RETURNING" in on_conflict:
            return self.rows(sql, columns)
        self.execute(sql, columns)
        return Rows((), [])


class _Reader(_Cursor):
    """A Reading over one transaction."""

    _flushing = False

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        return self._ask(lambda: super(_Reader, self).rows(sql, parameters))

    def arrays(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[NDArray[np.float64] | NDArray[np.int64]]:
        return self._ask(lambda: columns_of(self._cursor, sql, parameters))

    def to_parquet(self, sql: str, parameters: Sequence[object], path: Path) -> None:
        # PostgreSQL cannot; DuckDB does, from rows that come some at a time.
        import duckdb

        kinds = {oid: kind for kind, oid in OIDS.items()}
        with (
            duckdb.connect() as writer,
            psycopg.RawServerCursor(self._connection, "exported") as cursor,
        ):
            cursor.execute(_numbered(sql), list(parameters), binary=True)
            assert cursor.description is not None, sql
            columns = {column.name: kinds[column.type_code] for column in cursor.description}
            names = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            try:
                writer.execute(f"CREATE TABLE exported ({names})")
                while rows := cursor.fetchmany(FETCHED_ROWS):
                    writer.register("offered", Columns(columns, rows))
                    writer.execute("INSERT INTO exported FROM offered")
                writer.execute(statements.into_parquet("FROM exported", path))
            except duckdb.Error as error:
                reason = str(error).partition("\n")[0]
                raise StoreError(f"{path} cannot be written: {reason}") from error

    def histograms(
        self, selection: Selection, column: str = "histogram"
    ) -> dict[Key, ResidualHistogram | None]:
        sql = statements.keyed_histograms(selection, column)
        return histograms_of(self._cursor, sql, selection.parameters)

    def interrupt(self) -> None:
        # What cannot be cancelled goes on to its end, and nobody sees its answer.
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=CANCEL_SECONDS)

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask again, slowly, where a product was too small for PostgreSQL, which calls it wrong.

        The savepoint keeps the view: what is asked again sees the same commits.
        """
        try:
            return question()
        except told.NumericValueOutOfRange:
            if self._flushing:
                raise
        self._cursor.execute(AGAIN)
        self._cursor.execute(FLUSHING)
        self._flushing = True
        return question()


def _understood(address: str) -> tuple[str, str]:
    """Return what libpq takes, and what people are shown: no password.

    Raises StoreError if it is no address; without its text, of which a part may be a password.
    """
    try:
        given = conninfo_to_dict(address)
    except psycopg.Error:
        raise StoreError(
            "the store's address cannot be read; wanted postgresql://USER@HOST:PORT/DATABASE, with"
            " %XX for what is special in a name"
        ) from None
    if "PGCONNECT_TIMEOUT" in os.environ:
        given.setdefault("connect_timeout", os.environ["PGCONNECT_TIMEOUT"])
    wanted: dict[str, Any] = DEFAULTS | given | {"client_encoding": "UTF8"}
    conninfo = make_conninfo("", **wanted)
    user, host = given.get("user"), given.get("host", "")
    port, service = given.get("port"), given.get("service")
    shown = f"postgresql://{f'{user}@' if user else ''}{host}{f':{port}' if port else ''}"
    shown += f"/{given.get('dbname', '')}{f'?service={service}' if service else ''}"
    return conninfo, shown


@lru_cache(maxsize=1_000)
def _numbered(sql: str) -> bytes:
    """Return the statement with $1, $2... where it has `?`; no statement has one elsewhere."""
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql).encode()


def _kind(error: psycopg.Error) -> type[StoreError]:
    state = error.sqlstate or ""
    if isinstance(error, told.LockNotAvailable):
        return StoreLockedError
    if isinstance(error, told.InsufficientPrivilege | told.ReadOnlySqlTransaction):
        return StoreRefusedError
    # No state: libpq itself has lost the server. 08: connections; 57P: the server ends.
    if isinstance(error, psycopg.OperationalError) and state[:3] in ("", "080", "57P"):
        return StoreUnreachableError
    return StoreRefusedError if state[:2] == "28" else StoreError


def _advice(error: psycopg.Error) -> str:
    if isinstance(error, told.InsufficientPrivilege | told.InvalidSchemaName):
        return "; docs/collector.md says what the role needs (it owns its database)"
    if isinstance(error, told.ReadOnlySqlTransaction):
        return "; this is a standby, or read-only: give the address of the primary"
    if isinstance(error, told.LockNotAvailable):
        return "; another transaction holds it: pg_stat_activity shows whose"
    return ""


def _first_line(error: psycopg.Error) -> str:
    """Return what went wrong; without the values that PostgreSQL adds on further lines."""
    return str(error).strip().partition("\n")[0]
