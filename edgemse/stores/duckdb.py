"""The embedded store: one DuckDB file, one process at a time.

A commit is on the disk when it returns: DuckDB writes its log and calls fdatasync first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb

from edgemse.cells import Cell, Identity, newest
from edgemse.errors import (
    StoreError,
    StoreLockedError,
    StoreUnreachableError,
    StoreVersionError,
)
from edgemse.presence import HOUR_SECONDS, counts
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stores import migrations, rows
from edgemse.stores.base import Batch, DevicePresence, Key, Reading, Rows, Selection

__all__ = ["DuckDBStore"]

QUARANTINE_ROWS_MAX = 10_000
QUARANTINE_ROWS_MAX_PER_DEVICE = 200
QUARANTINE_BYTES_MAX = 16 * 2**20
"""Bounds of the quarantine; the oldest rows go first, and are counted."""
FOR_EVER_SECONDS = 2**62


class DuckDBStore:
    """The Store in a DuckDB file; see edgemse.stores.base."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._now = now
        self._committing = Lock()
        self._connection = _connect(path, read_only=read_only)
        try:
            self._prepare(read_only=read_only)
        except BaseException:
            self._connection.close()
            raise

    def commit(self, batch: Batch) -> dict[Identity, int]:
        """Write the batch; see Store.commit."""
        cells = _newest_of_each(batch.cells)
        with self._committing, self._failing("cannot be written"):
            self._connection.begin()
            try:
                held = self._put_cells(cells)
                self._put_devices(batch)
                if batch.quarantined:
                    self._put_quarantined(batch)
                self._connection.commit()
            except BaseException:
                with suppress(duckdb.Error):
                    self._connection.rollback()
                raise
        return held

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Open one consistent view; see Store.reading."""
        with self._failing("cannot be read"):
            cursor = self._connection.cursor()
            try:
                cursor.begin()
                yield _DuckDBReading(cursor)
            finally:
                cursor.close()

    def close(self) -> None:
        """Write the log into the file and let go of it."""
        with self._committing, self._failing("cannot be closed"):
            self._connection.close()

    def _prepare(self, *, read_only: bool) -> None:
        """Check the schema's version, and bring it up to date unless only reading."""
        with self._failing("cannot be prepared"):
            tables = self._connection.execute(
                "SELECT table_name FROM information_schema.tables"
            ).fetchall()
            if tables and ("schema_versions",) not in tables:
                raise StoreError(
                    f"{self.path} is a DuckDB file, but not a store of edgemse;"
                    " give the path of another file"
                )
            if not tables and read_only:
                raise StoreError(f"store {self.path} is empty; run edgemse collector on it once")
            if not tables:
                self._connection.execute(migrations.CREATE_VERSIONS)
            found = self._connection.execute(
                "SELECT coalesce(max(version), 0) FROM schema_versions"
            ).fetchone()
            assert found is not None
            version = migrations.checked_version(
                found[0], str(self.path), can_migrate=not read_only
            )
            for number, sql in migrations.scripts_after(version):
                self._connection.begin()
                self._connection.execute(sql)
                self._connection.execute(
                    "INSERT INTO schema_versions VALUES (?, ?)", [number, self._now_ms()]
                )
                self._connection.commit()

    def _put_cells(self, cells: dict[Identity, tuple[str, Cell]]) -> dict[Identity, int]:
        if not cells:
            return {}
        now_ms = self._now_ms()
        producers = sorted({identity.producer for identity in cells})
        self._put(rows.PRODUCERS, [(p, now_ms) for p in producers], "DO NOTHING")
        written = self._put(
            rows.CELLS,
            [rows.cell_row(device, cell) for device, cell in cells.values()],
            f"DO UPDATE SET {_excluded(rows.CELLS)} WHERE excluded.revision > cells.revision"
            " RETURNING producer, sequence, revision",
        )
        held = {Identity(producer, sequence): revision for producer, sequence, revision in written}
        held |= self._revisions([identity for identity in cells if identity not in held])
        return held

    def _revisions(self, identities: list[Identity]) -> dict[Identity, int]:
        if not identities:
            return {}
        producers, sequences = map(list, zip(*identities, strict=True))
        found = self._connection.execute(
            "SELECT producer, sequence, revision FROM cells JOIN"
            " (SELECT unnest(?::BYTEA[]) AS producer, unnest(?::BIGINT[]) AS sequence) AS asked"
            " USING (producer, sequence)",
            [producers, sequences],
        ).fetchall()
        return {Identity(producer, sequence): revision for producer, sequence, revision in found}

    def _put_devices(self, batch: Batch) -> None:
        reports = {report.device: rows.report_row(report) for report in batch.reports}
        self._put(rows.REPORTS, reports.values(), f"DO UPDATE SET {_excluded(rows.REPORTS)}")
        self._put_presences(batch.presences)

    def _put_presences(self, heard: list[DevicePresence]) -> None:
        runs = dict(
            self._connection.execute(
                "SELECT device, run FROM devices WHERE list_contains(?::TEXT[], device)",
                [[each.device for each in heard]],
            ).fetchall()
        )
        kept: dict[str, DevicePresence] = {}
        for each in heard:
            if counts(runs.get(each.device), each.presence):
                runs[each.device] = each.presence.run
                kept[each.device] = each
                self._put_attributes(each)
        self._put(
            rows.PRESENCES,
            [rows.presence_row(each) for each in kept.values()],
            f"DO UPDATE SET {_excluded(rows.PRESENCES)}",
        )

    def _put_attributes(self, heard: DevicePresence) -> None:
        for name, attribute in heard.presence.attributes.items():
            held = self._connection.execute(
                "SELECT value, since_seconds FROM attributes"
                " WHERE device = ? AND name = ? AND until_seconds = ?",
                [heard.device, name, FOR_EVER_SECONDS],
            ).fetchone()
            said = heard.received_ms // 1000 if attribute.since is None else attribute.since
            since = 0 if held is None else -(-said // HOUR_SECONDS) * HOUR_SECONDS
            if held is None or (held[0] != attribute.value and since > held[1]):
                self._connection.execute(
                    "UPDATE attributes SET until_seconds = ?"
                    " WHERE device = ? AND name = ? AND until_seconds = ?",
                    [since, heard.device, name, FOR_EVER_SECONDS],
                )
                row = (heard.device, name, attribute.value, since, FOR_EVER_SECONDS)
                self._put(rows.ATTRIBUTES, [row])
            elif held[0] != attribute.value and since == held[1]:
                self._connection.execute(
                    "UPDATE attributes SET value = ?"
                    " WHERE device = ? AND name = ? AND until_seconds = ?",
                    [attribute.value, heard.device, name, FOR_EVER_SECONDS],
                )

    def _put_quarantined(self, batch: Batch) -> None:
        self._put(rows.QUARANTINE, [rows.quarantine_row(each) for each in batch.quarantined])
        dropped = self._connection.execute(
            "DELETE FROM quarantine WHERE id IN (SELECT id FROM ("
            "  SELECT id, row_number() OVER (ORDER BY id DESC) AS place,"
            "    row_number() OVER (PARTITION BY device ORDER BY id DESC) AS place_of_device,"
            "    sum(octet_length(head)) OVER (ORDER BY id DESC) AS bytes"
            "  FROM quarantine) AS ranked"
            " WHERE place > ? OR place_of_device > ? OR bytes > ?)",
            [QUARANTINE_ROWS_MAX, QUARANTINE_ROWS_MAX_PER_DEVICE, QUARANTINE_BYTES_MAX],
        ).fetchone()
        if dropped and dropped[0]:
            self._connection.execute(
                "UPDATE counters SET value = value + ? WHERE name = 'quarantine_dropped'",
                [dropped[0]],
            )

    def _put(
        self, table: rows.Table, values: Iterable[rows.Row], on_conflict: str = ""
    ) -> list[tuple[Any, ...]]:
        """Insert the rows, each column as one list: fifty times faster here than row by row."""
        columns = [list(column) for column in zip(*values, strict=True)]
        if not columns:
            return []
        names = ", ".join(table.columns)
        lists = ", ".join(f"unnest(?::{kind}[])" for kind in table.columns.values())
        conflict = f" ON CONFLICT ({', '.join(table.key)}) {on_conflict}" if on_conflict else ""
        # Every name in this text comes from edgemse.stores.rows; the values are parameters.
        sql = f"INSERT INTO {table.name} ({names}) SELECT {lists}{conflict}"
        return self._connection.execute(sql, columns).fetchall()

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise StoreError(f"store {self.path} {what}: {_first_line(error)}") from error


class _DuckDBReading:
    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        result = self._cursor.execute(sql, parameters)
        return Rows(tuple(column[0] for column in result.description), result.fetchall())

    def histograms(
        self, selection: Selection, column: str = "histogram"
    ) -> dict[Key, ResidualHistogram | None]:
        keys = "".join(f"g{place}, " for place in range(1, selection.keys + 1))
        merged: dict[Key, ResidualHistogram | None] = {}
        chosen = f"SELECT {keys}{column}, count FROM ({selection.sql}) AS chosen"  # noqa: S608
        for *key, data, count in self.rows(chosen, selection.parameters):
            held = merged.setdefault(tuple(key), ResidualHistogram())
            if data is None and count:
                merged[tuple(key)] = None
            elif held is not None and data is not None:
                held.merge(ResidualHistogram.from_bytes(data))
        return merged


def _connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    if read_only and not path.exists():
        raise StoreUnreachableError(
            f"store {path} does not exist; check the path, or run edgemse collector with it first"
        )
    try:
        return duckdb.connect(str(path), read_only=read_only)
    except duckdb.Error as error:
        text = _first_line(error)
        if "lock" in text:
            holder = re.search(r"held in (.*?\(PID \d+\))", text)
            raise StoreLockedError(
                f"store {path} is held by {holder[1] if holder else 'another process'};"
                " stop it first, or read through it with --from http://HOST:PORT (its --http)"
            ) from None
        if "version number" in text:
            raise StoreVersionError(
                f"store {path} was written by a newer DuckDB than {duckdb.__version__};"
                " use the edgemse that wrote it, or a newer one"
            ) from None
        raise StoreUnreachableError(f"store {path} cannot be opened: {text}") from None


def _newest_of_each(cells: Iterable[tuple[str, Cell]]) -> dict[Identity, tuple[str, Cell]]:
    found: dict[Identity, tuple[str, Cell]] = {}
    for device, cell in cells:
        held = found.get(cell.identity)
        if newest(held[1].revision if held else None, cell.revision):
            found[cell.identity] = device, cell
    return found


def _excluded(table: rows.Table) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in table.columns if name not in table.key)


def _first_line(error: duckdb.Error) -> str:
    return str(error).strip().partition("\n")[0]
