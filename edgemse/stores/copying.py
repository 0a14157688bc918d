"""What PostgreSQL copies out: one SELECT in its binary format, read as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql as quoting

from edgemse.errors import StateError, StoreError
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stores.arrays import OIDS
from edgemse.stores.base import Key
from edgemse.stores.copied import copied_histograms, copied_numbers

__all__ = ["columns_of", "histograms_of"]

T = TypeVar("T")
NUMBERS: dict[int, np.dtype[Any]] = {
    OIDS["BIGINT"]: np.dtype(np.int64),
    OIDS["DOUBLE PRECISION"]: np.dtype(np.float64),
}
INTEGERS = {OIDS["BIGINT"], 21, 23}
"""BIGINT, SMALLINT and INTEGER, as pg_type.dat has them: the same in every PostgreSQL."""


def columns_of(
    cursor: psycopg.RawCursor[tuple[Any, ...]], sql: str, parameters: Sequence[object]
) -> list[NDArray[np.float64] | NDArray[np.int64]]:
    """Return the columns of a SELECT of BIGINT and DOUBLE PRECISION without nulls."""
    types = _types(cursor, sql, parameters)
    assert {*types} <= {*NUMBERS}, f"columns of the types {types}: {sql}"
    found = _copied(cursor, sql, parameters, lambda rows: copied_numbers(rows, len(types)))
    return [np.frombuffer(raw, NUMBERS[kind]) for raw, kind in zip(found, types, strict=True)]


def histograms_of(
    cursor: psycopg.RawCursor[tuple[Any, ...]], sql: str, parameters: Sequence[object]
) -> dict[Key, ResidualHistogram | None]:
    """Return the last column's histograms, merged by the others, which are integers or texts."""
    *types, _ = _types(cursor, sql, parameters)
    found = _copied(cursor, sql, parameters, lambda rows: copied_histograms(rows, len(types)))
    return {
        tuple(_value(kind, raw) for kind, raw in zip(types, key, strict=True)): each
        for key, each in found.items()
    }


def _types(
    cursor: psycopg.RawCursor[tuple[Any, ...]], sql: str, parameters: Sequence[object]
) -> list[int]:
    """Return the types of a SELECT's columns, which a COPY does not tell."""
    none = f"SELECT * FROM ({sql}) AS described LIMIT 0"  # noqa: S608 - our own
    cursor.execute(_filled(cursor, none, parameters))
    assert cursor.description is not None, sql
    return [column.type_code for column in cursor.description]


def _copied(
    cursor: psycopg.RawCursor[tuple[Any, ...]],
    sql: str,
    parameters: Sequence[object],
    read: Callable[[Iterable[memoryview]], T],
) -> T:
    statement = _filled(cursor, f"COPY ({sql}) TO STDOUT (FORMAT BINARY)", parameters)
    with cursor.copy(statement) as messages:
        try:
            return read(messages)  # type: ignore[arg-type]
        except StateError:
            raise
        except ValueError as error:
            raise StoreError(f"what PostgreSQL has copied out cannot be read: {error}") from error


def _filled(
    cursor: psycopg.RawCursor[tuple[Any, ...]], sql: str, parameters: Sequence[object]
) -> bytes:
    """Return the statement with its parameters, quoted, in their places: COPY takes none."""
    first, *others = sql.split("?")  # no statement has one elsewhere
    assert len(others) == len(parameters), sql
    pieces = [first.encode()]
    for value, more in zip(parameters, others, strict=True):
        pieces += [quoting.Literal(value).as_bytes(cursor), more.encode()]
    return b"".join(pieces)


def _value(kind: int, raw: bytes | None) -> object:
    if raw is None:
        return None
    return int.from_bytes(raw, "big", signed=True) if kind in INTEGERS else raw.decode()
