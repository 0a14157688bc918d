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
_SEP = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)
"""The first line by which Excel says which delimiter follows."""
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_csv(path: Path, columns: Columns, dialect: Dialect, name: str) -> Iterator[Chunk]:
    """Yield the rows of a CSV file: UTF-8, or UTF-16 with its mark; first a line of names.

    The delimiter (, ; tab |) is the one with which that line has the columns that are wanted. A row
    has as many cells as the header; further ones must be empty, and a row of nothing but delimiters
    is a blank line. Numbers are converted as Python's float() does it, to the nearest float64.
    """
    size = max(1, path.stat().st_size)
    with path.open("rb") as binary:
        head = binary.read(4)
        encoding = next((e for mark, e in _ENCODINGS if head.startswith(mark)), "utf-8-sig")
        binary.seek(0)
        with TextIOWrapper(binary, encoding, newline="") as file:
            lines = _Lines(name)
            try:
                header = _begun(file, lines, columns, dialect)
                table = _Table(name, header, columns, dialect)
                while rows := list(itertools.islice(_rows(lines, table), CHUNK_ROWS)):
                    yield table.chunk(rows, min(1.0, binary.tell() / size))
            except UnicodeDecodeError as error:
                byte, line = error.object[error.start], _undecodable(path, encoding)
                raise FileUnreadableError(
                    f"{name}: {line}is neither Parquet nor CSV in UTF-8: byte 0x{byte:02X},"
                    f" {error.reason}; convert it first: iconv -f latin1 -t utf-8"
                ) from None


def _undecodable(path: Path, encoding: str) -> str:
    """Return "line N: " of the first that cannot be decoded; the decoder itself reads ahead."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                return f"line {number}: " if encoding == "utf-8-sig" else ""
    return ""


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


def _begun(file: TextIO, lines: _Lines, columns: Columns, dialect: Dialect) -> list[str]:
    """Return the header; `lines` stands behind it."""
    first = file.readline()
    if not first:
        raise FileUnreadableError(f"{lines.name}: is empty; wanted a line of column names")
    if "\0" in first:
        raise FileUnreadableError(
            f"{lines.name}: is not text, or UTF-16 without its mark; convert it first:"
            " iconv -f utf-16le -t utf-8"
        )
    said = _SEP.fullmatch(first)
    given = dialect.delimiter or (said[1] if said else "")
    wanted = columns.names()
    skipped = 1 if said else 0

    def fit(delimiter: str) -> tuple[int, int]:
        try:
            header = lines.begin(file, delimiter, skipped)
        except FileUnreadableError:  # a quoted name that holds this one is not closed before it
            return -1, 0
        bare = {each.strip() for each in header}
        return sum(each in bare or each in header for each in wanted), len(header)

    best = max(given or DELIMITERS, key=fit)
    header = lines.begin(file, best, skipped)
    if not header:
        raise FileUnreadableError(f"{lines.name}: has no line of column names")
    return header


class _Lines:
    """A reader of rows that knows in which line of the file each begins.

    It is strict: a quote that is never closed would swallow the rows that follow.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.line = 0
        """The last line that has been read."""
        self._skipped = 0
        self._reader: Any = iter(())

    def begin(self, file: TextIO, delimiter: str, skipped: int) -> list[str]:
        """Go to the file's beginning, past `skipped` lines; return the header, [] if none."""
        file.seek(0)
        for _ in range(skipped):
            file.readline()
        self.line = self._skipped = skipped
        self._reader = csv.reader(file, delimiter=delimiter, strict=True)
        return next((row for _, row in self if any(map(str.strip, row))), [])

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        try:
            for row in self._reader:
                begun, self.line = self.line + 1, self._reader.line_num + self._skipped
                yield begun, row
        except csv.Error as error:
            why = str(error)
            if "end of data" in why:
                why = "a quote opens here and is never closed"
            elif "expected after" in why:
                why = f"a quoted cell goes on after its closing quote ({why}); two make one inside"
            where = f"{self.name}: line {self.line + 1}"
            raise FileUnreadableError(f"{where}: not CSV: {why}") from None


def _rows(lines: _Lines, table: _Table) -> Iterator[tuple[int, list[str]]]:
    width = table.width
    for line_and_row in lines:
        line, row = line_and_row
        if len(row) == width and row[0].strip():  # as nearly all are
            yield line_and_row
        elif any(map(str.strip, row)):  # else of delimiters only, which is a blank line
            yield line, row if len(row) == width else table.fitted(line, row)


class _Table:
    """The header of a file, and what it makes of rows."""

    def __init__(
        self, name: str, header: Sequence[str], columns: Columns, dialect: Dialect
    ) -> None:
        self.width = max(place for place, each in enumerate(header, 1) if each.strip())
        """Cells of a row; empty names at the end of the header are no names."""
        self._name, self._columns = name, columns
        self._places = places(name, header, columns.names())
        self._converter = Converter(name, dialect)

    def fitted(self, line: int, row: list[str]) -> list[str]:
        """Return the row with as many cells as there are names, or raise InputError.

        Cells beyond the last name may be empty, and only that.
        """
        more = len(row) > self.width
        if more and not any(map(str.strip, row[self.width :])):
            return row[: self.width]
        hint = (
            "a comma inside a number or text needs quotes, or another --delimiter; row names need"
            " a name in the header"
            if more
            else "was it cut?"
        )
        cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
        raise InputError(
            f"{self._name}: line {line}: {cells}, the header has {self.width} names; {hint}"
        )

    def chunk(self, rows: list[tuple[int, list[str]]], done: float) -> Chunk:
        """Return the columns, converted."""
        where = [f"line {line}" for line, _ in rows]
        cells = {name: [row[at] for _, row in rows] for name, at in self._places.items()}
        convert, columns = self._converter, self._columns
        return Chunk(
            len(rows),
            {name: convert.numbers(name, cells[name], where) for name in columns.numbers},
            {name: convert.texts(name, cells[name], where) for name in columns.texts},
            {name: convert.times(name, cells[name], where) for name in columns.times},
            done,
            where,
        )
