"""Columns in PostgreSQL's binary form of arrays: a tenth of what psycopg's lists of values take."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from psycopg import pq
from psycopg.adapt import Dumper

__all__ = ["OIDS", "Encoded", "EncodedDumper", "encoded"]

OIDS = {"BOOLEAN": 16, "BYTEA": 17, "BIGINT": 20, "TEXT": 25, "DOUBLE PRECISION": 701}
"""Of the elements, as pg_type.dat has them: the same in every PostgreSQL."""
HEAD = struct.Struct(">iiIii")
"""Dimensions, whether there are nulls, the elements' type, how many they are, the first's place."""
SIZE = struct.Struct(">i")
NULL = SIZE.pack(-1)
NUMBERS = {
    "BOOLEAN": ("b", np.dtype([("size", ">i4"), ("value", "?")])),
    "BIGINT": ("i", np.dtype([("size", ">i4"), ("value", ">i8")])),
    "DOUBLE PRECISION": ("f", np.dtype([("size", ">i4"), ("value", ">f8")])),
}
"""By SQL type: numpy's kind of what fits without a change, and an element."""


class Encoded(bytes):
    """An array in PostgreSQL's binary form."""

    __slots__ = ()


class EncodedDumper(Dumper):
    """Hands it over as it is; the statement's cast says which type it has."""

    format = pq.Format.BINARY

    def dump(self, obj: Encoded) -> bytes:
        """Return it."""
        return obj


def encoded(kind: str, values: Sequence[object]) -> Encoded:
    """Return one column's values as an array of that SQL type; None is null.

    Raises ValueError where a value is of another type.
    """
    nulls = None in values
    head = HEAD.pack(1, nulls, OIDS[kind], len(values), 1)
    if kind in ("BYTEA", "TEXT"):
        each: dict[object, bytes] = {value: _text(kind, value) for value in {*values}}
        return Encoded(head + b"".join([each[value] for value in values]))
    if nulls:
        parts = [NULL if value is None else _numbers(kind, [value]) for value in values]
        return Encoded(head + b"".join(parts))
    return Encoded(head + _numbers(kind, values))


def _numbers(kind: str, values: Sequence[object]) -> bytes:
    wanted, element = NUMBERS[kind]
    found: np.ndarray[Any, np.dtype[Any]] = np.array(values)
    if found.dtype.kind != wanted and (wanted, found.dtype.kind) != ("f", "i"):
        raise ValueError(f"{values[0]!r:.80} or another value is no {kind}")
    array = np.empty(len(values), element)
    array["size"] = element.itemsize - SIZE.size
    array["value"] = found
    return array.tobytes()


def _text(kind: str, value: object) -> bytes:
    if value is None:
        return NULL
    if type(value) is not (str if kind == "TEXT" else bytes):
        raise ValueError(f"{value!r:.80} is no {kind}")
    raw = value.encode() if isinstance(value, str) else value
    return SIZE.pack(len(raw)) + raw
