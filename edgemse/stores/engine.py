"""What every engine does in the same way: commits, leases, the schema and the store's name."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any, ClassVar

from edgemse.cells import Identity
from edgemse.errors import StoreError
from edgemse.presence import counts
from edgemse.stores import migrations, statements, tables
from edgemse.stores.attributes import FOR_EVER_SECONDS, History
from edgemse.stores.base import Batch, DevicePresence, DeviceReport, Reading, Writing
from edgemse.stores.gone import named_anew, take_out
from edgemse.stores.offered import Offered
from edgemse.stores.reported import Reported
from edgemse.stores.tables import Row
from edgemse.stores.touching import HOUR, touch

__all__ = ["ID_BYTES", "Engine"]

log = logging.getLogger(__name__)

PRODUCERS_MAX = 100_000
"""Producers whose first device is remembered; past that all are looked up again, once."""
ID_BYTES = 8
"""Of a store's random name: enough that no two stores of one house are ever called the same."""


class Engine(ABC):
    """A store over the two things that an engine offers: a view to read, a transaction to write."""

    dialect: ClassVar[str]
    """Which scripts of the schema are its own; see edgemse.stores.migrations."""
    alone: ClassVar[bool]
    """Whether nobody else writes while the store is open, and one thread at a time."""

    id = ""
    where = ""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._first_devices: dict[bytes, str] = {}
        """Of producers that the store knows: only people change it, by `writing`."""
        self._renamed: set[bytes] = set()
        """Those of them that another device has spoken for as well."""
        self._open_hours: set[int] = set()
        """Hours that need no note while nobody else writes."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Reading]:
        """Open one consistent view; see Store.reading."""

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[Writing]:
        """Open one transaction; see Store.writing."""

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Open one transaction; see Store.writing."""
        with self._transaction() as writing:
            self._forget()  # whatever is written, it may be about these
            yield writing

    def commit(self, batch: Batch) -> dict[Identity, int]:
        """Write the batch; see Store.commit."""
        return self._write(batch, statements.KEEP_HIGHEST)

    def _write(self, batch: Batch, on_conflict: str) -> dict[Identity, int]:
        """Write the batch, its cells with that clause; without one none may be there yet."""
        try:
            with self._transaction() as writing:
                # First of all, and before anything is looked up (delivery rule 14): whoever else
                # takes in cells of a producer, drops them or renames their device, waits here.
                writing.lock(tables.PRODUCERS, sorted(batch.cells.producers()))
                batch = named_anew(writing, batch)
                renamed = self._put_producers(writing, batch.cells)
                self._touch(writing, batch.cells, renamed)
                held = _put_cells(writing, batch.cells, on_conflict)
                rows = [(device, *series) for device, series in batch.series]
                writing.put(tables.SERIES, rows, statements.KEEP)
                if batch.reports or batch.presences:
                    writing.lock(tables.REPORTS)  # what is read of a device must stay so
                _put_reports(writing, batch.reports)
                _put_presences(writing, batch.presences)
                writing.put(tables.QUARANTINE, [tuple(each) for each in batch.quarantined])
                if batch.replayed:
                    writing.execute(statements.DROP_QUARANTINED, (batch.replayed,))
        except BaseException:
            self._forget()
            raise
        return held

    def _put_producers(self, writing: Writing, offered: Offered) -> set[bytes]:
        """Note producers, and return those that a second device has spoken for, now or before."""
        devices = offered.producers()
        known = self._first_devices if self.alone else {}
        several = self._renamed if self.alone else set()
        new = sorted(devices.keys() - known.keys())
        if new:
            rows: list[Row] = [(each, next(iter(devices[each])), self._now_ms()) for each in new]
            writing.put(tables.PRODUCERS, rows, statements.KEEP)
            known |= dict(writing.rows(statements.FIRST_DEVICES, (new,)))
            several |= {producer for (producer,) in writing.rows(statements.RENAMED, (new,))}
        renames = [
            (producer, device, self._now_ms())
            for producer in sorted(devices)
            for device in devices[producer]
            if device != known[producer]
        ]
        writing.put(tables.RENAMES, renames, statements.KEEP)
        several |= {producer for producer, *_ in renames}
        found = several & devices.keys()
        if len(self._first_devices) > PRODUCERS_MAX:
            self._forget()
        return found

    def _touch(self, writing: Writing, offered: Offered, renamed: set[bytes]) -> None:
        """Note the hours that cells are offered of, and those that they leave another device in."""
        hours = [HOUR.start(start) for start in offered.starts]
        if self._open_hours.issuperset(hours) and not renamed:
            return
        series = zip(offered.devices, offered.series, strict=True)
        keys = zip(hours, ((device, *each) for device, each in series), strict=True)
        places: list[tuple[Any, ...]] = []
        if renamed:
            moving = [each for each in offered.identities if each.producer in renamed]
            columns = [list(column) for column in zip(*moving, strict=True)]
            places = writing.rows(statements.PLACES, columns).rows
        old = ((hour, tuple(key)) for hour, *key in places)
        found = touch(writing, HOUR, [*hours, *(place[0] for place in places)], chain(keys, old))
        if self.alone:
            self._open_hours |= found

    def _forget(self) -> None:
        self._first_devices.clear()
        self._renamed.clear()
        self._open_hours.clear()

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Tell whether `holder` has the lease; see Store.lease."""
        now_ms = self._now_ms()
        until_ms = now_ms + int(seconds * 1000)
        with self._transaction() as writing:
            taken = writing.rows(statements.TAKE_LEASE, (name, holder, until_ms, now_ms))
        return len(taken) > 0

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _prepare(
        self, random_bytes: Callable[[int], bytes], *, read_only: bool, must_exist: bool = False
    ) -> None:
        """Check the schema's version, bring it up to date unless only reading, learn the name."""
        with self.reading() as reading:
            found = {name for (name,) in reading.rows(statements.TABLES)}
        if found and "schema_versions" not in found:
            raise StoreError(
                f"{self.where} is a database, but not a store of edgemse; give another one, or a"
                " place where there is none yet"
            )
        if not found and (read_only or must_exist):
            raise StoreError(f"store {self.where} is empty; run edgemse collector on it once")
        if not found:
            with self.writing() as writing:
                writing.execute(statements.CREATE_VERSIONS)
        with self.reading() as reading:
            ((version,),) = reading.rows(statements.VERSION)
        dialect = self.dialect
        migrations.check_version(version, self.where, dialect, can_migrate=not read_only)
        for number, sql in migrations.scripts_after(version, dialect):
            with self.writing() as writing:
                writing.execute(sql)
                writing.execute(statements.NOTE_VERSION, (number, self._now_ms()))
                if not writing.rows(statements.STORE_ID).rows:
                    name = random_bytes(ID_BYTES).hex()
                    writing.execute(statements.NEW_STORE, (name, self._now_ms()))
        with self.reading() as reading:
            ((self.id,),) = reading.rows(statements.STORE_ID)


def _put_cells(writing: Writing, offered: Offered, on_conflict: str) -> dict[Identity, int]:
    newest = offered.newest()
    held = take_out(writing, offered, newest)
    places = {identity: place for identity, place in newest.items() if identity not in held}
    rows = offered.rows if len(places) == len(offered) else offered.rows.only(places.values())
    written = writing.put(tables.CELLS, rows, on_conflict)
    if not on_conflict:
        return held | {identity: offered.revisions[place] for identity, place in places.items()}
    held |= {Identity(producer, sequence): revision for producer, sequence, revision in written}
    stale = [identity for identity in places if identity not in held]
    if stale:
        columns = [list(column) for column in zip(*stale, strict=True)]
        for producer, sequence, revision in writing.rows(statements.REVISIONS, columns):
            identity = Identity(producer, sequence)
            held[identity] = revision
            if revision < offered.revisions[places[identity]]:
                log.warning(
                    "cell %d of producer %s comes with another series or window than before; it is"
                    " not taken",
                    sequence,
                    producer.hex(),
                )
    return held


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
