"""Parquet, read by DuckDB: columns are found by their names as the file has them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from math import nan
from pathlib import Path
from typing import Any

from edgemse.errors import FileUnreadableError, InputError
from edgemse.files.cells import Converter
from edgemse.files.columns import CHUNK_ROWS, Chunk, Columns, Dialect
from edgemse.files.csv_files import places

__all__ = ["read_parquet"]

NO_NUMBERS = ("TIMESTAMP", "DATE", "TIME", "BLOB", "STRUCT", "MAP", "UNION", "INTERVAL", "UUID")
SOURCE = "read_parquet(?, hive_partitioning = false)"
MOMENTS = ("TIMESTAMP", "DATE")


def read_parquet(path: Path, columns: Columns, dialect: Dialect, name: str) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file.

    A folder `name=value` above the file serves a column that the file lacks, and never replaces one
    that it has. Text columns are read by the rules of CSV.
    """
    import duckdb

    # DuckDB takes a path for a pattern: what it would expand is put between brackets.
    pattern = "".join(f"[{each}]" if each in "*?[" else each for each in str(path))
    with duckdb.connect() as connection:
        try:
            asked = f"DESCRIBE SELECT * FROM {SOURCE}"  # noqa: S608 - a constant
            described = connection.execute(asked, [pattern]).fetchall()
            table = _Table(name, _names(connection, pattern), described, path, columns, dialect)
            asked = f"SELECT count(*) FROM {SOURCE}"  # noqa: S608 - a constant
            counted = connection.execute(asked, [pattern]).fetchone()
            total = max(1, (counted or (0,))[0])
            selected = ", ".join(table.selected()) or "1"
            # Names are quoted.
            result = connection.execute(f"SELECT {selected} FROM {SOURCE}", [pattern])  # noqa: S608
            done = 0
            while rows := result.fetchmany(CHUNK_ROWS):
                done += len(rows)
                yield table.chunk(rows, done - len(rows), done / total)
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0]
            raise FileUnreadableError(f"{name}: not a readable Parquet file: {reason}") from None


def _names(connection: Any, pattern: str) -> list[str]:
    """Return the columns' names as the file has them; DuckDB renames those that it finds alike."""
    nodes = connection.execute(
        "SELECT name, num_children FROM parquet_schema(?)", [pattern]
    ).fetchall()
    names, at = [], 1
    for _ in range(nodes[0][1] or 0):
        names.append(nodes[at][0])
        open_children = 1
        while open_children:
            open_children += (nodes[at][1] or 0) - 1
            at += 1
    return names


class _Table:
    """The columns of one file, and what it makes of rows."""

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        described: Sequence[tuple[Any, ...]],
        path: Path,
        columns: Columns,
        dialect: Dialect,
    ) -> None:
        self._name, self._columns = name, columns
        self._folders = dict(part.partition("=")[::2] for part in path.parent.parts if "=" in part)
        wanted = columns.names()
        self._lacking = {n for n in wanted if n not in names and n in self._folders}
        found = places(name, names, [each for each in wanted if each not in self._lacking])
        self._sql = {each: _quoted(described[at][0]) for each, at in found.items()}
        self._types = {each: str(described[at][1]) for each, at in found.items()}
        self._converter = Converter(name, dialect)

    def selected(self) -> Iterator[str]:
        """Yield the expressions to select, in the order of numbers, texts, times."""
        for each in self._columns.numbers:
            yield self._number(each)
        for each in self._columns.texts:
            yield self._text(each)
        for each in self._columns.times:
            moment = self._types.get(each, "").startswith(MOMENTS)
            yield f"epoch({self._sql[each]})" if moment else self._text(each)

    def _number(self, each: str) -> str:
        kind = self._types.get(each, "VARCHAR")
        if kind == "VARCHAR":
            return self._text(each)
        if kind.startswith(NO_NUMBERS) or kind.endswith("]"):
            raise InputError(f"{self._name}: column {each!r} holds {kind:.80}, wanted numbers")
        return f"CAST({self._sql[each]} AS DOUBLE)"

    def _text(self, each: str) -> str:
        if each in self._lacking:
            return "'" + self._folders[each].replace("'", "''") + "'"
        return f"coalesce(CAST({self._sql[each]} AS VARCHAR), '')"

    def chunk(self, rows: list[tuple[Any, ...]], before: int, done: float) -> Chunk:
        """Return the columns, converted."""
        where = [f"row {before + place}" for place in range(1, len(rows) + 1)]
        values = iter(zip(*rows, strict=True))
        convert = self._converter

        def numbers(each: str) -> array[float]:
            column = next(values)
            if column and isinstance(column[0], str):
                return convert.numbers(each, column, where)
            return array("d", [nan if value is None else value for value in column])

        def times(each: str) -> array[float]:
            column = next(values)
            if column and isinstance(column[0], str):
                return convert.times(each, column, where)
            return array("d", [nan if value is None else value for value in column])

        return Chunk(
            len(rows),
            {each: numbers(each) for each in self._columns.numbers},
            {each: list(next(values)) for each in self._columns.texts},
            {each: times(each) for each in self._columns.times},
            done,
            where,
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
