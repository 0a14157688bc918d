"""Histograms merged by group, from the rows that an engine streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgemse.stats.histogram import ResidualHistogram
from edgemse.stores.base import Key, Selection

__all__ = ["merged", "streamed"]


def streamed(selection: Selection, column: str) -> str:
    """Return the SELECT of the group's columns, a histogram column and the count of samples."""
    keys = "".join(f"g{place}, " for place in range(1, selection.keys + 1))
    # The column's name is one of two that the code gives; keys are places.
    assert column in ("histogram", "lag_histogram"), column
    return f"SELECT {keys}{column}, count FROM ({selection.sql}) AS chosen"


def merged(rows: Iterable[tuple[Any, ...]]) -> dict[Key, ResidualHistogram | None]:
    """Merge such rows; None for a group where a cell with samples has no histogram."""
    found: dict[Key, ResidualHistogram | None] = {}
    for *key, data, count in rows:
        held = found.setdefault(tuple(key), ResidualHistogram())
        if data is None and count:
            found[tuple(key)] = None
        elif held is not None and data is not None:
            held.merge(ResidualHistogram.from_bytes(data))
    return found
