"""A store as Parquet files, partitioned by day and model, and back: docs/export.md.

    DIR/export.json                                            which store, which format, when
    DIR/names/<table>.parquet                                  every table but cells, whole
    DIR/cells/day=2026-01-01/partition_model=pump/cells.parquet

Each file appears whole, and each partition has one: an export that goes on where an earlier one
ended replaces the days that it writes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from edgemse.errors import FileUnreadableError, InputError, OutputError
from edgemse.stores import statements, tables
from edgemse.stores.base import Reading, Store
from edgemse.stores.durable import appearing
from edgemse.stores.tables import Row, Table
from edgemse.times import DAY_SECONDS

__all__ = ["NAMES", "Exported", "cells_files", "export_store", "names_file", "rows_of"]

FORMAT = 1
FOLDER_CHARACTERS = 200
"""A name longer than that is cut and told by a digest: file systems take 255 bytes."""
NO_NAME = "__HIVE_DEFAULT_PARTITION__"
"""How Hive and Spark spell no name at all; a model may be called so."""
ROWS = 5_000
"""That are read, and written in one transaction, at a time."""
NAMES = (
    tables.ALIASES,
    tables.ABSORBED,
    tables.LEAVING,
    tables.DEPENDENCE,
    tables.PRODUCERS,
    tables.RENAMES,
    tables.SERIES,
    tables.RETIRED,
    tables.DEVICES,
    tables.ATTRIBUTES,
)
"""What is exported beside cells, in the order in which it is imported."""
TYPES = {
    "BYTEA": "BLOB",
    "BIGINT": "BIGINT",
    "BOOLEAN": "BOOLEAN",
    "TEXT": "VARCHAR",
    "DOUBLE PRECISION": "DOUBLE",
}
"""What DuckDB calls the types of our tables."""


class Exported(NamedTuple):
    """What an export has written."""

    partitions: int
    removed: int
    """Partitions of earlier exports that no cell is left of."""


def export_store(
    store: Store, folder: Path, *, since: int | None = None, now: Callable[[], float] = time.time
) -> Exported:
    """Write one moment of a store into a folder.

    Args:
        store: what to write.
        folder: where to: new, empty, or with an earlier export of this store or a copy of it.
        since: windows of this second's UTC day and of later ones only; None: all.
        now: UTC seconds.

    Raises:
        OutputError: the folder holds something else, or cannot be written. StoreError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with store.reading() as reading:
            origin = _origin(reading, store.id)
            before = _check_free(folder, origin)
            _note(folder, origin, before)  # broken off, it is as old as it was
            for table in NAMES:
                _write(reading, statements.everything(table), (), folder / "names" / _file(table))
            first = 0 if since is None else since - since % DAY_SECONDS
            # Names of cells that went into another one are written whole; so must be the other.
            changed = reading.rows(statements.RETAINED_DAYS, (int(1000 * (before - DAY_SECONDS)),))
            older = {day for (day,) in changed if day < first}
            done = _write_cells(reading, folder / "cells", first, older)
        _note(folder, origin, now())
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: {error.strerror}") from None
    return done


def cells_files(folder: Path) -> list[Path]:
    """Return the files of cells of an export, days in order; InputError if it is none."""
    _described(folder)
    return sorted((folder / "cells").glob("day=*/partition_model=*/cells.parquet"))


def rows_of(path: Path, table: Table) -> Iterator[list[Row]]:
    """Yield the rows of a file, some at a time.

    Raises FileUnreadableError if it cannot be read, InputError if it has not the table's columns.
    """
    import duckdb

    pattern = "".join(f"[{each}]" if each in "*?[" else each for each in str(path))
    source = "read_parquet(?, hive_partitioning = false)"
    with duckdb.connect() as connection:
        try:
            described = f"DESCRIBE SELECT * FROM {source}"  # noqa: S608 - a constant
            found = connection.execute(described, [pattern]).fetchall()
            wanted = [(name, TYPES[kind]) for name, kind in table.columns.items()]
            if [(name, kind) for name, kind, *_ in found] != wanted:
                raise InputError(
                    f"{path}: not the columns of {table.name} as this edgemse exports them;"
                    " export once more with this version"
                )
            read = connection.execute(f"SELECT * FROM {source}", [pattern])  # noqa: S608
            while rows := read.fetchmany(ROWS):
                yield rows
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0]
            raise FileUnreadableError(f"{path}: {reason}; export once more") from None


def names_file(folder: Path, table: Table) -> Path:
    """Return where an export has the rows of a table other than cells."""
    return folder / "names" / _file(table)


def _write_cells(reading: Reading, folder: Path, first: int, older: set[int]) -> Exported:
    """Write the days from `first` on, and some before."""
    written = set()
    for day, model in reading.rows(statements.PARTITIONS, (min({first, *older}),)):
        if day >= first or day in older:
            path = folder / _day_folder(day) / _model_folder(model) / "cells.parquet"
            _write(reading, statements.CELLS_OF_PARTITION, (day, day + DAY_SECONDS, model), path)
            written.add(path)
    lowest, days = _day_folder(first), {_day_folder(day) for day in older}
    gone = [
        path
        for path in folder.glob("day=*/partition_model=*/cells.parquet")
        if path not in written and (path.parts[-3] >= lowest or path.parts[-3] in days)
    ]
    for path in gone:
        path.unlink()
    return Exported(len(written), len(gone))


def _write(reading: Reading, sql: str, parameters: Iterable[object], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as part:
        reading.to_parquet(sql, tuple(parameters), part)


def _file(table: Table) -> str:
    return f"{table.name}.parquet"


def _day_folder(day: int) -> str:
    return f"day={datetime.fromtimestamp(day, UTC):%Y-%m-%d}"


def _model_folder(model: str) -> str:
    """Return the folder of a model, as Hive spells it; the column in the file is what counts."""
    name = quote(model, safe=" ")
    if len(name) > FOLDER_CHARACTERS:
        digest = hashlib.sha256(model.encode()).hexdigest()[:16]
        name = f"{name[:FOLDER_CHARACTERS]}-{digest}"
    if name == NO_NAME:
        name = name.replace("_", "%5F", 1)
    return f"partition_model={name}"


def _described(folder: Path) -> dict[str, Any]:
    path = folder / "export.json"
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        raise InputError(
            f"{folder}: no export; wanted a folder that edgemse export wrote"
        ) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path}: wanted format {FORMAT}; use the edgemse that wrote it")
    return found


def _origin(reading: Reading, store: str) -> str:
    """Return the id of the store that this one was first a copy of, or its own.

    A store that a collector holds is exported by copies, and each of those has an id of its own.
    """
    for (source,) in reading.rows(statements.FIRST_COPY):
        return str(source)
    return store


def _check_free(folder: Path, store: str) -> float:
    """Return when the store was exported into the folder last, UTC seconds; 0: never."""
    if not any(folder.iterdir()):
        return 0.0
    try:
        described = _described(folder)
        at = datetime.fromisoformat(str(described.get("exported"))).timestamp()
    except (InputError, ValueError):
        raise OutputError(f"{folder}: holds something else; give a folder that is new") from None
    found = described.get("store")
    if found != store:
        raise OutputError(
            f"{folder}: holds an export of the store {found}, this is {store}; give another folder"
        )
    return at


def _note(folder: Path, store: str, now: float) -> None:
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with appearing(folder / "export.json") as part:
        part.write_text(json.dumps({"format": FORMAT, "store": store, "exported": at}) + "\n")
