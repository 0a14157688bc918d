"""What every engine does in the same way: commits, leases, the schema and the store's name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from edgemse.cells import Identity, newest
from edgemse.errors import StoreError
from edgemse.presence import counts
from edgemse.stores import migrations, statements, tables
from edgemse.stores.attributes import FOR_EVER_SECONDS, History
from edgemse.stores.base import Batch, DevicePresence, DeviceReport, Reading, Writing
from edgemse.stores.gone import named_anew, take_out
from edgemse.stores.offered import Offered
from edgemse.stores.reported import Reported
from edgemse.stores.tables import Row

__all__ = ["ID_BYTES", "Engine"]

ID_BYTES = 8
"""Of a store's random name: enough that no two stores of one house are ever called the same."""


class Engine(ABC):
    """A store over the two things that an engine offers: a view to read, a transaction to write."""

    id = ""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    @abstractmethod
    def reading(self) -> AbstractContextManager[Reading]:
        """Open one consistent view; see Store.reading."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Writing]:
        """Open one transaction; see Store.writing."""

    def commit(self, batch: Batch) -> dict[Identity, int]:
        """Write the batch; see Store.commit."""
        with self.writing() as writing:
            batch = named_anew(writing, batch)
            held = _put_cells(writing, batch.cells, self._now_ms())
            rows = [(device, *series) for device, series in batch.series]
            writing.put(tables.SERIES, rows, statements.KEEP)
            _put_reports(writing, batch.reports)
            _put_presences(writing, batch.presences)
            writing.put(tables.QUARANTINE, [tuple(each) for each in batch.quarantined])
            if batch.replayed:
                writing.execute(statements.DROP_QUARANTINED, (batch.replayed,))
        return held

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Tell whether `holder` has the lease; see Store.lease."""
        now_ms = self._now_ms()
        until_ms = now_ms + int(seconds * 1000)
        with self.writing() as writing:
            taken = writing.rows(statements.TAKE_LEASE, (name, holder, until_ms, now_ms))
        return len(taken) > 0

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _prepare(
        self, where: str, random_bytes: Callable[[int], bytes], *, read_only: bool
    ) -> None:
        """Check the schema's version, bring it up to date unless only reading, learn the name."""
        with self.reading() as reading:
            found = {name for (name,) in reading.rows(statements.TABLES)}
        if found and "schema_versions" not in found:
            raise StoreError(
                f"{where} is a database, but not a store of edgemse; give another one, or a path"
                " where there is no file yet"
            )
        if not found and read_only:
            raise StoreError(f"store {where} is empty; run edgemse collector on it once")
        if not found:
            with self.writing() as writing:
                writing.execute(statements.CREATE_VERSIONS)
        with self.reading() as reading:
            ((version,),) = reading.rows(statements.VERSION)
        migrations.check_version(version, where, can_migrate=not read_only)
        for number, sql in migrations.scripts_after(version):
            with self.writing() as writing:
                writing.execute(sql)
                writing.execute(statements.NOTE_VERSION, (number, self._now_ms()))
                if not writing.rows(statements.STORE_ID).rows:
                    name = random_bytes(ID_BYTES).hex()
                    writing.execute(statements.NEW_STORE, (name, self._now_ms()))
        with self.reading() as reading:
            ((self.id,),) = reading.rows(statements.STORE_ID)


def _put_cells(writing: Writing, cells: list[Offered], now_ms: int) -> dict[Identity, int]:
    offered = _newest_of_each(cells)
    if not offered:
        return {}
    _put_producers(writing, cells, now_ms)
    gone = take_out(writing, offered)
    rows = [each.row() for identity, each in offered.items() if identity not in gone]
    written = writing.put(tables.CELLS, rows, statements.KEEP_HIGHEST)
    held = {Identity(producer, sequence): revision for producer, sequence, revision in written}
    held |= gone
    stale = [identity for identity in offered if identity not in held]
    if stale:
        columns = [list(column) for column in zip(*stale, strict=True)]
        for producer, sequence, revision in writing.rows(statements.REVISIONS, columns):
            held[Identity(producer, sequence)] = revision
    return held


def _put_producers(writing: Writing, cells: Iterable[Offered], now_ms: int) -> None:
    """Note producers, and those that a second device speaks for.

    First of all tables, and sorted: whoever else takes in cells of a producer, or drops them, waits
    here (delivery rule 14 in docs/architecture.md).
    """
    devices: dict[bytes, dict[str, None]] = {}
    for each in cells:
        devices.setdefault(each.cell.identity.producer, {})[each.device] = None
    producers = sorted(devices)
    rows: list[Row] = [(each, next(iter(devices[each])), now_ms) for each in producers]
    writing.put(tables.PRODUCERS, rows, statements.KEEP)
    first: dict[bytes, str] = dict(writing.rows(statements.FIRST_DEVICES, (producers,)))
    renames: list[Row] = [
        (producer, device, now_ms)
        for producer in producers
        for device in devices[producer]
        if device != first[producer]
    ]
    writing.put(tables.RENAMES, renames, statements.KEEP)


def _newest_of_each(cells: Iterable[Offered]) -> dict[Identity, Offered]:
    found: dict[Identity, Offered] = {}
    for each in cells:
        held = found.get(each.cell.identity)
        if newest(held.cell.revision if held else None, each.cell.revision):
            found[each.cell.identity] = each
    return found


def _put_reports(writing: Writing, reports: list[DeviceReport]) -> None:
    if not reports:
        return
    devices = list({each.device for each in reports})
    reported = Reported(writing.rows(statements.REPORTED, (devices,)))
    for each in reports:
        reported.hear(each)
    writing.put(tables.REPORTS, reported.rows(), statements.REPLACE_REPORT)


def _put_presences(writing: Writing, heard: list[DevicePresence]) -> None:
    if not heard:
        return
    devices = list({each.device for each in heard})
    runs: dict[str, str | None] = dict(writing.rows(statements.RUNS, (devices,)))
    history = History(writing.rows(statements.PRESENT_ATTRIBUTES, (FOR_EVER_SECONDS, devices)))
    kept: dict[str, DevicePresence] = {}
    for each in heard:
        if counts(runs.get(each.device), each.presence):
            runs[each.device] = each.presence.run if each.presence.online else None
            kept[each.device] = each
            history.hear(each.device, each.presence, each.received_ms // 1000)
    rows = [each.row() for each in kept.values()]
    writing.put(tables.PRESENCES, rows, statements.REPLACE_PRESENCE)
    writing.put(tables.ATTRIBUTES, history.changes(), statements.REPLACE_ATTRIBUTES)
