"""CSV, as other people write it: every row must fit the header, or the file is refused."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from edgemse.errors import ColumnError, FileUnreadableError, InputError
from edgemse.files.cells import Converter
from edgemse.files.columns import CHUNK_ROWS, Chunk, Columns, Dialect

__all__ = ["places", "read_csv"]

DELIMITERS = ",;\t|"
_SEP = re.compile(r"\s*sep=(.)\s*", re.IGNORECASE)
"""The first line by which Excel says which delimiter follows."""


def read_csv(path: Path, columns: Columns, dialect: Dialect, name: str) -> Iterator[Chunk]:
    """Yield the rows of a CSV file: UTF-8, or UTF-16 with its mark; first a line of names.

    The delimiter (, ; tab |) is the one with which that line has the columns that are wanted. A row
    has as many cells as the header; further ones must be empty, and a row of nothing but delimiters
    is a blank line. Numbers are converted as Python's float() does it, to the nearest float64.
    """
    size = max(1, path.stat().st_size)
    with path.open("rb") as binary:
        encoding = _encoding(binary.read(4))
        binary.seek(0)
        with TextIOWrapper(binary, encoding, newline="") as file:
            try:
                reader, header = _begun(file, columns, dialect, name)
                table = _Table(name, header, columns, dialect)
                while rows := list(itertools.islice(_rows(reader, table), CHUNK_ROWS)):
                    yield table.chunk(rows, min(1.0, binary.tell() / size))
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise FileUnreadableError(
                    f"{name}: is neither Parquet nor CSV in UTF-8: byte 0x{byte:02X},"
                    f" {error.reason}; convert it first: iconv -f latin1 -t utf-8"
                ) from None
            except csv.Error as error:
                raise FileUnreadableError(f"{name}: not CSV: {error}") from None


def places(name: str, header: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Return where each wanted column stands, as written or but for spaces; else ColumnError."""
    bare = [each.strip() for each in header]
    found = {}
    for column in wanted:
        names = header if column in header else bare
        if names.count(column) != 1:
            problem = "no column" if column not in names else "more than one column"
            shown = ", ".join(header[:50]) + (", ..." if len(header) > 50 else "")
            raise ColumnError(f"{name}: {problem} {column!r:.80}; the file has {shown:.2000}")
        found[column] = list(names).index(column)
    return found


def _encoding(head: bytes) -> str:
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if utf16 else "utf-8-sig"


def _begun(file: TextIO, columns: Columns, dialect: Dialect, name: str) -> tuple[Any, list[str]]:
    """Return a reader that stands behind the header, and the header."""
    first = file.readline()
    if not first:
        raise FileUnreadableError(f"{name}: is empty; wanted a line of column names")
    said = _SEP.fullmatch(first)
    skipped = 1 if said else 0
    given = dialect.delimiter or (said[1] if said else "")
    wanted = columns.names()
    best = max(given or DELIMITERS, key=lambda each: _fit(_header(file, each, skipped)[1], wanted))
    reader, header = _header(file, best, skipped)
    if not any(header):
        raise FileUnreadableError(f"{name}: its first line has no column names")
    return reader, header


def _header(file: TextIO, delimiter: str, skipped: int) -> tuple[Any, list[str]]:
    file.seek(0)
    for _ in range(skipped):
        file.readline()
    reader = csv.reader(file, delimiter=delimiter)
    header = next((row for row in reader if row), [])
    reader_of_lines = _Lines(reader, skipped)
    return reader_of_lines, header


def _fit(header: Sequence[str], wanted: Sequence[str]) -> tuple[int, int]:
    bare = {each.strip() for each in header}
    return sum(name in bare or name in header for name in wanted), len(header)


class _Lines:
    """A csv reader that knows the line of the file, `sep=` included."""

    def __init__(self, reader: Any, skipped: int) -> None:
        self._reader, self._skipped = reader, skipped

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        for row in self._reader:
            yield self._reader.line_num + self._skipped, row


def _rows(reader: _Lines, table: _Table) -> Iterator[tuple[int, list[str]]]:
    for line, row in reader:
        if len(row) == table.width:
            yield line, row
        elif any(row):
            yield line, table.fitted(line, row)


class _Table:
    """The header of a file, and what it makes of rows."""

    def __init__(
        self, name: str, header: Sequence[str], columns: Columns, dialect: Dialect
    ) -> None:
        self.width = len(header)
        self._name, self._columns = name, columns
        self._places = places(name, header, columns.names())
        self._converter = Converter(name, dialect)

    def fitted(self, line: int, row: list[str]) -> list[str]:
        """Return the row without surplus cells if these are empty, else raise InputError."""
        if len(row) > self.width and not any(row[self.width :]):
            return row[: self.width]
        more = len(row) > self.width
        hint = (
            "a comma inside a number or text needs quotes, or another --delimiter; row names need"
            " a name in the header"
            if more
            else "was it cut?"
        )
        raise InputError(
            f"{self._name}: line {line}: {len(row)} cells, the header has {self.width} names;"
            f" {hint}"
        )

    def chunk(self, rows: list[tuple[int, list[str]]], done: float) -> Chunk:
        """Return the columns, converted."""
        full = [row for row in rows if any(row[1])]  # a row of delimiters only is a blank line
        where = [f"line {line}" for line, _ in full]
        cells = {name: [row[at] for _, row in full] for name, at in self._places.items()}
        convert, columns = self._converter, self._columns
        return Chunk(
            len(full),
            {name: convert.numbers(name, cells[name], where) for name in columns.numbers},
            {name: cells[name] for name in columns.texts},
            {name: convert.times(name, cells[name], where) for name in columns.times},
            done,
            where,
        )
