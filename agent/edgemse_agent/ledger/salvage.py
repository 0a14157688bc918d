"""Reading what can be read out of a ledger that was put away, into the one that is open, once.

Delivery stays right by the cells' identities. What may be missing beside the rows that can be named
decides how much is trusted: if something may, the ledger goes on under another id, without its
sessions (clients give up what they had sent and not heard confirmed), and all its cells are taken
for exposed, since a mark may be lost: they are sent, never merged. Only what SQLite finds by its
trees is read: in free pages lie rows whose samples have long gone elsewhere.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edgemse.names import counted
from edgemse_agent.ledger.file import board_number, connect, create, is_environment
from edgemse_agent.ledger.journal import mended
from edgemse_agent.ledger.rows import entry_of
from edgemse_agent.ledger.schema import GUARDED, META_UPDATE, PAGE_BYTES, WAITING, inserted
from edgemse_agent.ledger.sound import UNREADABLE, Row, checksum, rows, tolerant

__all__ = ["Taken", "about", "take_over"]

EXPOSED = GUARDED["cells"].index("exposed")
REVISION = GUARDED["cells"].index("revision")
ROW_BYTES_MIN = 16
"""No cell or entry takes less of the file."""
PAGE_COUNT = slice(28, 32)
BOARD_NUMBER = slice(68, 72)
"""Source: SQLite, "Database File Format", 1.3, the database header."""
_ALL = ", ".join(f"{column} = excluded.{column}" for column in (*GUARDED["cells"], "crc"))
_CELL = (
    f"INSERT {inserted('cells')} ON CONFLICT DO UPDATE SET {_ALL}"
    " WHERE excluded.revision > revision"
)


class Taken(NamedTuple):
    """What was read out of a file: cells, predictions and labels; and what is lost.

    `commits` is how many the file has, -1 if it does not say.
    """

    file: Path
    cells: int
    entries: int
    lost: int
    commits: int

    def __str__(self) -> str:
        return (
            f"took over {counted(self.cells, 'cell')} and {counted(self.entries, 'id')} of"
            f" predictions and labels from {self.file}; could not read {counted(self.lost, 'row')}"
        )


def take_over(
    database: sqlite3.Connection,
    file: Path,
    hardware: str,
    *,
    whole: bool = False,
    by_hand: bool = False,
) -> Taken | None:
    """Bring what is sound in the file into delivery, in one transaction; None if it was already.

    `whole`: nothing is missing but rows that can be named, and `database` was begun in the file's
    place. Another board's, or a newer agent's, is taken `by_hand` only. Raises OSError or
    one of UNREADABLE, having changed nothing.
    """
    found = file.stat()
    mark = f"{file.name} {found.st_size} {found.st_mtime_ns}"
    if database.execute("SELECT 1 FROM adopted WHERE file = ?", (mark,)).fetchone():
        return None
    newer = ".newer-" in file.name
    with _copied(file, mend=not newer) as source:
        said = about(source)
        (board,) = source.execute("PRAGMA application_id").fetchone()
        ours = said["hardware"] == hardware if said else board == board_number(hardware)
        if not (ours or by_hand):
            return None
        with database:
            taken = _moved(source, database, file, said, newer=newer, whole=whole)
            database.execute("INSERT INTO adopted VALUES (?, ?)", (mark, taken.cells))
        return taken


def about(database: sqlite3.Connection) -> dict[str, Any]:
    """Return what a ledger says of itself, nothing if that is not sound or not there."""
    try:
        found = list(rows(database, "meta"))
    except UNREADABLE as error:
        if is_environment(error):
            raise
        return {}
    if len(found) != 1 or found[0].wrong:
        return {}
    return dict(zip(GUARDED["meta"], found[0].values, strict=True))


@contextlib.contextmanager
def _copied(file: Path, *, mend: bool) -> Iterator[sqlite3.Connection]:
    """Open a copy of the file and its journal: the file itself stays as it is."""
    folder = file.with_name(f"{file.name}.reading")
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
    folder.mkdir()
    copy = folder / "ledger"
    try:
        for suffix in ("", "-wal"):
            if Path(f"{file}{suffix}").exists():
                shutil.copyfile(f"{file}{suffix}", f"{copy}{suffix}")
        if mend:
            _mend(copy)
            journal = Path(f"{copy}-wal")
            if journal.exists():
                journal.write_bytes(mended(journal.read_bytes()))
        with contextlib.closing(sqlite3.connect(copy)) as database:
            database.text_factory = tolerant
            database.create_function("checksum", -1, checksum, deterministic=True)
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA writable_schema = ON")  # goes on past a damaged definition
            yield database
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mend(copy: Path) -> None:
    """Give the copy a sound first page: it holds the schema, which never changes, and little else.

    All ledgers of one schema are begun alike, so that their tables begin at the same pages.
    """
    pattern = copy.with_name("pattern")
    with contextlib.closing(connect(pattern)) as database:
        create(database, "")
    page = bytearray(pattern.read_bytes()[:PAGE_BYTES])
    with copy.open("r+b") as file:
        old = file.read(PAGE_BYTES).ljust(PAGE_BYTES, b"\0")
        page[PAGE_COUNT] = max(1, copy.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
        page[BOARD_NUMBER] = old[BOARD_NUMBER]
        file.seek(0)
        file.write(page)


class _Readable:
    """The sound rows of a table: from both ends if something in the middle cannot be read.

    Between the ends, the indexes may know the keys of cells on pages that can be read.
    """

    def __init__(self, source: sqlite3.Connection, table: str, *, unsigned: bool) -> None:
        self._source, self._table, self._unsigned = source, table, unsigned
        self.sound = self.unsound = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        keys = 2 if self._table == "cells" else 1
        seen = set()
        for row in self._rows():
            if row.values[:keys] in seen:
                continue
            seen.add(row.values[:keys])
            self.sound += not row.wrong
            self.unsound += bool(row.wrong)
            if not row.wrong:
                yield row.values

    def lost(self, file: Path) -> int:
        """Return how many rows are not there that were, as far as the ledger says how many."""
        told = 0
        with contextlib.suppress(*UNREADABLE):
            statement = f"SELECT {self._table} FROM meta"  # noqa: S608 - ours
            (told,) = self._source.execute(statement).fetchone() or (0,)
        if not isinstance(told, int) or told > file.stat().st_size // ROW_BYTES_MIN:
            told = 0  # a damage itself
        return max(self.unsound, told - self.sound)

    def _rows(self) -> Iterator[Row]:
        for reverse in (False, True):
            with contextlib.suppress(*UNREADABLE):  # from here on; hence from the other end
                yield from rows(self._source, self._table, reverse=reverse, unsigned=self._unsigned)
                return
        if self._table == "cells":
            for key in _indexed(self._source):
                with contextlib.suppress(*UNREADABLE):
                    yield from rows(self._source, self._table, key=key, unsigned=self._unsigned)


def _indexed(source: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    for index in (
        f"cells_due WHERE {WAITING} ORDER BY (exposed > 0) DESC, start",
        f"cells_due WHERE {WAITING} ORDER BY (exposed > 0), start DESC",
        "cells_parked WHERE code IS NOT NULL ORDER BY start",
        "cells_parked WHERE code IS NOT NULL ORDER BY start DESC",
    ):
        with contextlib.suppress(*UNREADABLE):
            statement = f"SELECT producer, sequence FROM cells INDEXED BY {index}"  # noqa: S608
            yield from source.execute(statement)


def _moved(
    source: sqlite3.Connection,
    database: sqlite3.Connection,
    file: Path,
    said: dict[str, Any],
    *,
    newer: bool,
    whole: bool,
) -> Taken:
    def readable(table: str) -> _Readable:
        return _Readable(source, table, unsigned=newer)

    cells, entries = readable("cells"), readable("entries")
    trusted = whole or ".corrupt-" not in file.name
    database.executemany(_CELL, cells if trusted else map(_exposed, cells))
    (elapsed,) = database.execute("SELECT elapsed FROM meta").fetchone()
    later = 0.0 if whole else elapsed - said.get("elapsed", elapsed)
    database.executemany(
        f"INSERT OR IGNORE {inserted('entries')}", (_later(values, later) for values in entries)
    )
    database.execute("UPDATE meta SET entries = (SELECT count(*) FROM entries)")
    if whole:
        database.executemany(f"INSERT {inserted('sessions')}", readable("sessions"))
        database.execute(META_UPDATE, tuple(said.values()))
    database.executemany(f"INSERT OR IGNORE {inserted('attributes')}", readable("attributes"))
    database.executemany(f"INSERT OR IGNORE {inserted('spans')}", readable("spans"))
    lost = cells.lost(file) + entries.lost(file)
    return Taken(file, cells.sound, entries.sound, lost, said.get("commits", -1))


def _exposed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    revision = max(values[EXPOSED], values[REVISION])
    return (*values[:EXPOSED], revision, *values[EXPOSED + 1 :])


def _later(values: tuple[Any, ...], seconds: float) -> tuple[Any, ...]:
    """Put an entry on the clock of the ledger that it moves to."""
    entry = entry_of(values[1])
    moved = msgspec.structs.replace(entry, born=entry.born + seconds)
    return values[0], msgspec.msgpack.encode(moved)
