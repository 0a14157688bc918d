"""Which rows of a ledger are sound: readable, whole, and as they were written."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from edgemse.cells import check
from edgemse.errors import StateError
from edgemse_agent.ledger.rows import cell_of, entry_of
from edgemse_agent.ledger.schema import CELL, GUARDED, guarded

__all__ = ["UNREADABLE", "Row", "checksum", "rows", "tolerant"]

UNREADABLE = (sqlite3.Error, UnicodeDecodeError, MemoryError)
"""What reading a damaged file raises: Python cannot always read SQLite's own complaint, and a
damaged length may ask for more memory than there is."""


class Row(NamedTuple):
    """A row's guarded columns, and what is wrong with them, "" if they are sound."""

    values: tuple[Any, ...]
    wrong: str


def checksum(*values: object) -> int:
    """Return the CRC-32 of SQLite's values; registered as an SQL function of that name."""
    return zlib.crc32(msgspec.msgpack.encode(values))


def tolerant(data: bytes) -> str:
    """Return a text of any bytes: what is not UTF-8 becomes surrogates, which no sound row has."""
    return data.decode("utf-8", "surrogateescape")


def rows(
    database: sqlite3.Connection,
    table: str,
    *,
    reverse: bool = False,
    key: tuple[Any, ...] = (),
    unsigned: bool = False,
) -> Iterator[Row]:
    """Return the table's rows in the order of their keys, or the one of that key, each checked.

    `unsigned`: whatever their checksum is (a newer schema's may be of further columns). Raises
    one of UNREADABLE where the file itself cannot be read on.
    """
    names = {"cells": ("producer", "sequence"), "meta": ("rowid",)}.get(table, GUARDED[table][:1])
    order = ", ".join(f"{name}{' DESC' if reverse else ''}" for name in names)
    where = f"WHERE ({', '.join(names)}) = ({', '.join('?' * len(key))})" if key else ""
    statement = f"SELECT {guarded(table)}, crc FROM {table} {where} ORDER BY {order}"  # noqa: S608
    for *values, crc in database.execute(statement, key):
        yield Row(tuple(values), _wrong_with(table, tuple(values), crc, unsigned=unsigned))


def _wrong_with(table: str, values: tuple[Any, ...], crc: object, *, unsigned: bool) -> str:
    try:
        if checksum(*values) != crc and not unsigned:
            return "its checksum is not that of its content"
        if table == "cells":
            check(cell_of(values[: len(CELL)]))
        elif table == "entries":
            entry_of(values[1])
    except (StateError, msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
