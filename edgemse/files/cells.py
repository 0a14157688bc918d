"""The text of a cell to a number or a time: strictly, because a guess is wrong in silence."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from math import nan

from edgemse.errors import InputError, SettingsError
from edgemse.files.columns import Dialect
from edgemse.times import seconds_of

__all__ = ["Converter"]

_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")


class Converter:
    """Converts the cells of one file; errors name the file, the place and the column."""

    def __init__(self, path: str, dialect: Dialect) -> None:
        self._path, self._dialect = path, dialect
        self._missing = {"", *dialect.na}

    def numbers(self, name: str, cells: Sequence[str], where: Sequence[str]) -> array[float]:
        """Return a column as float64, NaN where a cell is missing."""
        if self._dialect.decimal == "." and not self._dialect.na:
            joined = "".join(cells)
            if joined.isascii() and "_" not in joined:  # float() takes digits of all kinds, and _
                try:
                    return array("d", [float(cell) if cell else nan for cell in cells])
                except ValueError:
                    pass  # told below, cell by cell
        pairs = zip(cells, where, strict=True)
        return array("d", [self._number(name, cell, place) for cell, place in pairs])

    def times(self, name: str, cells: Sequence[str], where: Sequence[str]) -> array[float]:
        """Return a column as UTC seconds, NaN where a cell is missing."""
        pairs = zip(cells, where, strict=True)
        return array("d", [self._time(name, cell.strip(), place) for cell, place in pairs])

    def _number(self, name: str, cell: str, place: str) -> float:
        text = cell.strip()
        if text in self._missing:
            return nan
        plain = text
        if self._dialect.decimal == ",":
            plain = "bad" if "." in text else text.replace(",", ".")
        try:
            if "_" in plain or not plain.isascii():
                raise ValueError
            return float(plain)
        except ValueError:
            hint = "or an empty cell where it is missing (--na TEXT for another mark)"
            if self._dialect.decimal == "." and _DECIMAL_COMMA.fullmatch(text):
                hint = "with a decimal point; --decimal , takes a decimal comma"
            raise InputError(
                f"{self._path}: {place}: column {name!r}: got {text!r:.80}, wanted a number, {hint}"
            ) from None

    def _time(self, name: str, cell: str, place: str) -> float:
        if cell in self._missing:
            return nan
        try:
            return seconds_of(cell, unit=self._dialect.time_unit)
        except SettingsError as error:
            unit = "" if self._dialect.time_unit else " (--time-unit says what numbers count)"
            raise InputError(f"{self._path}: {place}: column {name!r}: {error}{unit}") from None
