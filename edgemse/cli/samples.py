"""Files of samples, CSV or Parquet, read in chunks, in the order of their rows."""

from __future__ import annotations

import csv
import itertools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from math import nan
from pathlib import Path
from typing import Any, TextIO

from edgemse.errors import ColumnError, FileUnreadableError, InputError, SettingsError
from edgemse.times import instant

__all__ = ["Chunk", "Columns", "read_samples"]

CHUNK_ROWS = 50_000
DELIMITERS = ",;\t|"
PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read, and as what."""

    numbers: Sequence[str] = ()
    """float64; NaN where the cell is empty."""
    texts: Sequence[str] = ()
    """Text; "" where the cell is empty."""
    times: Sequence[str] = ()
    """UTC seconds, of ISO 8601 (no zone: UTC) or epoch numbers; NaN where the cell is empty."""

    def names(self) -> list[str]:
        """Return every column, each once."""
        return list(dict.fromkeys([*self.numbers, *self.texts, *self.times]))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file, column by column, and how much of the file has been read."""

    rows: int
    numbers: dict[str, array[float]]
    texts: dict[str, list[str]]
    times: dict[str, array[float]]
    done: float
    """0 to 1."""


def read_samples(path: Path, columns: Columns) -> Iterator[Chunk]:
    """Yield the file's rows in chunks.

    A CSV file is UTF-8 with a line of column names; its delimiter (, ; tab |) is the one that this
    line has most of. Numbers are converted as Python's float() does it: to the nearest float64.

    Raises FileUnreadableError, ColumnError, or InputError that names file, line, column and value.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(PARQUET_MAGIC))
    except OSError as error:
        raise FileUnreadableError(f"{path}: cannot be read: {error.strerror}") from None
    if magic == PARQUET_MAGIC:
        return _read_parquet(path, columns)
    return _read_csv(path, columns)


def _read_csv(path: Path, columns: Columns) -> Iterator[Chunk]:
    size = path.stat().st_size
    with path.open("rb") as binary, TextIOWrapper(binary, "utf-8-sig", newline="") as file:
        try:
            reader = _reader(file)
            header = next(reader, None)
            if header is None:
                raise FileUnreadableError(f"{path}: is empty; wanted a line of column names")
            places = _places(path, header, columns.names())
            first_row = 1
            while rows := list(itertools.islice(reader, CHUNK_ROWS)):
                cells = _Cells(path, places, first_row, [row for row in rows if row])
                yield cells.chunk(columns, binary.tell() / size)
                first_row += cells.rows
        except UnicodeDecodeError as error:
            raise FileUnreadableError(
                f"{path}: is neither Parquet nor CSV in UTF-8: {error.reason}"
            ) from None
        except csv.Error as error:
            raise FileUnreadableError(f"{path}: line {reader.line_num}: not CSV: {error}") from None


def _reader(file: TextIO) -> Any:
    header = file.readline()
    file.seek(0)
    return csv.reader(file, delimiter=max(DELIMITERS, key=header.count))


def _places(path: Path, header: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return where each wanted column stands, or raise ColumnError."""
    for name in names:
        if header.count(name) != 1:
            problem = "no column" if name not in header else "more than one column"
            shown = ", ".join(header[:50]) + (", ..." if len(header) > 50 else "")
            raise ColumnError(f"{path}: {problem} {name!r}; the file has {shown}")
    return {name: header.index(name) for name in names}


class _Cells:
    """The text cells of a chunk of a CSV file, to be converted column by column."""

    def __init__(
        self, path: Path, places: dict[str, int], first_row: int, rows: list[list[str]]
    ) -> None:
        self.rows = len(rows)
        self._path = path
        self._first_row = first_row
        width = max(places.values(), default=-1) + 1
        for place, row in enumerate(rows):
            if len(row) < width:
                raise InputError(
                    f"{path}: line {self._line(place)}: {len(row)} cells, wanted at least {width}"
                )
        self._columns = {name: [row[at] for row in rows] for name, at in places.items()}

    def chunk(self, columns: Columns, done: float) -> Chunk:
        """Return the columns, converted."""
        return Chunk(
            self.rows,
            {name: self._numbers(name) for name in columns.numbers},
            {name: self._columns[name] for name in columns.texts},
            {name: self._times(name) for name in columns.times},
            min(1.0, done),
        )

    def _numbers(self, name: str) -> array[float]:
        cells = self._columns[name]
        try:
            return array("d", [float(cell) if cell else nan for cell in cells])
        except ValueError:
            return array("d", [self._number(name, place) for place in range(self.rows)])

    def _number(self, name: str, place: int) -> float:
        cell = self._columns[name][place].strip()
        try:
            return float(cell) if cell else nan
        except ValueError:
            raise InputError(
                f"{self._path}: line {self._line(place)}: column {name!r}: got {cell!r:.80},"
                " wanted a number, or an empty cell where it is missing"
            ) from None

    def _times(self, name: str) -> array[float]:
        return array("d", [self._time(name, place) for place in range(self.rows)])

    def _time(self, name: str, place: int) -> float:
        cell = self._columns[name][place]
        try:
            return instant(cell) if cell and not cell.isspace() else nan
        except SettingsError as error:
            raise InputError(
                f"{self._path}: line {self._line(place)}: column {name!r}: {error}"
            ) from None

    def _line(self, place: int) -> int:
        """Return the line of a row: counted afresh, because a quoted cell may span lines."""
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            reader = _reader(file)
            next(reader)
            lines: Iterator[int] = (reader.line_num for row in reader if row)
            return next(itertools.islice(lines, self._first_row - 1 + place, None))


def _read_parquet(path: Path, columns: Columns) -> Iterator[Chunk]:
    import duckdb

    # DuckDB takes a path for a pattern: what it would expand is put between brackets.
    pattern = "".join(f"[{each}]" if each in "*?[" else each for each in str(path))
    with duckdb.connect() as connection:
        try:
            header = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [pattern])
            types = {name: kind for name, kind, *_ in header.fetchall()}
            _places(path, list(types), columns.names())
            counted = connection.execute("SELECT count(*) FROM read_parquet(?)", [pattern])
            total = (counted.fetchone() or (0,))[0]
            selected = ", ".join(_parquet_columns(path, types, columns)) or "1"
            result = connection.execute(
                f"SELECT {selected} FROM read_parquet(?)",  # noqa: S608 - names are quoted
                [pattern],
            )
            done = 0
            while rows := result.fetchmany(CHUNK_ROWS):
                done += len(rows)
                yield _parquet_chunk(path, columns, rows, done - len(rows) + 1, done / total)
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0]
            raise FileUnreadableError(f"{path}: not a readable Parquet file: {reason}") from None


def _parquet_columns(path: Path, types: dict[str, str], columns: Columns) -> Iterator[str]:
    for name in columns.numbers:
        if types[name].startswith(("TIMESTAMP", "DATE", "TIME", "BLOB", "STRUCT", "MAP")):
            raise InputError(f"{path}: column {name!r} holds {types[name]}, wanted numbers")
        quoted = _quoted(name)
        yield quoted if types[name] == "VARCHAR" else f"CAST({quoted} AS DOUBLE)"
    for name in columns.texts:
        yield f"coalesce(CAST({_quoted(name)} AS VARCHAR), '')"
    for name in columns.times:
        moment = types[name].startswith(("TIMESTAMP", "DATE"))
        yield f"epoch({_quoted(name)})" if moment else f"CAST({_quoted(name)} AS VARCHAR)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _parquet_chunk(
    path: Path, columns: Columns, rows: list[tuple[Any, ...]], first_row: int, done: float
) -> Chunk:
    values = iter(zip(*rows, strict=True))

    def converted(name: str, place: int, cell: object) -> float:
        if cell is None or cell == "":
            return nan
        try:
            if name in columns.times and isinstance(cell, str):
                return instant(cell)
            return float(cell)  # type: ignore[arg-type]  # text or a number, as selected
        except ValueError:  # SettingsError is one
            raise InputError(
                f"{path}: row {first_row + place}: column {name!r}: got {cell!r:.80}, wanted a"
                f" {'time' if name in columns.times else 'number'} or nothing"
            ) from None

    def column(name: str) -> array[float]:
        return array("d", [converted(name, *cell) for cell in enumerate(next(values))])

    return Chunk(
        len(rows),
        {name: column(name) for name in columns.numbers},
        {name: list(next(values)) for name in columns.texts},
        {name: column(name) for name in columns.times},
        done,
    )
