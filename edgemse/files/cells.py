"""The text of a cell to a number or a time: strictly, because a guess is wrong in silence."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from math import isfinite, nan

from edgemse.errors import InputError, SettingsError
from edgemse.files.columns import Dialect
from edgemse.times import seconds_of

__all__ = ["Converter"]

_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(\.[0-9]+)?")
_BARE_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]*)?")
_NO_TIME = frozenset({"nan", "nat"})
"""How pandas and NumPy write a missing time; NaN is a missing number likewise."""


class Converter:
    """Converts the cells of one file; errors name the file, the place and the column."""

    def __init__(self, path: str, dialect: Dialect) -> None:
        self._path, self._dialect = path, dialect
        self._missing = {"", *(text.strip() for text in dialect.na)}
        self._missing_numbers = set(filter(isfinite, map(self._read, self._missing)))

    def numbers(self, name: str, cells: Sequence[str], where: Sequence[str]) -> array[float]:
        """Return a column of text as float64, NaN where a cell is missing."""
        if self._dialect.decimal == "." and not self._dialect.na:
            joined = "".join(cells)
            if joined.isascii() and "_" not in joined:  # float() takes digits of all kinds, and _
                try:
                    return array("d", [float(cell) if cell else nan for cell in cells])
                except ValueError:
                    pass  # told below, cell by cell
        pairs = zip(cells, where, strict=True)
        return array("d", [self._number(name, cell, place) for cell, place in pairs])

    def known(self, values: Iterable[float | None]) -> array[float]:
        """Return a column that holds numbers already, NaN where one is missing."""
        missing = self._missing_numbers
        return array("d", [nan if v is None or v in missing else v for v in values])

    def times(
        self, name: str, cells: Sequence[str | float | None], where: Sequence[str], unit: str = ""
    ) -> array[float]:
        """Return a column of text or numbers as UTC seconds, NaN where a cell is missing.

        `unit` is that of numbers, where the file itself says it; it goes before the dialect's.
        """
        said = unit or self._dialect.time_unit
        pairs = zip(cells, where, strict=True)
        return array("d", [self._time(name, cell, place, said) for cell, place in pairs])

    def texts(self, name: str, cells: Sequence[str], where: Sequence[str]) -> list[str]:
        """Return a column of text as it is, but for NUL bytes: a file system leaves them."""
        if "\0" in "".join(cells):
            place = next(place for cell, place in zip(cells, where, strict=True) if "\0" in cell)
            raise InputError(
                f"{self._path}: {place}: column {name!r} holds NUL bytes, as files do that lost"
                " power; mend or remove that line"
            )
        return list(cells)

    def _read(self, text: str) -> float:
        """Return the number, or NaN if it is none."""
        if self._dialect.decimal == ",":
            text = "" if "." in text else text.replace(",", ".")
        try:
            return nan if "_" in text or not text.isascii() else float(text)
        except ValueError:
            return nan

    def _number(self, name: str, cell: str, place: str) -> float:
        text = cell.strip()
        if text in self._missing:
            return nan
        value = self._read(text)
        if value == value:
            return nan if value in self._missing_numbers else value
        if text.lstrip("+-").lower() == "nan":
            return nan
        raise InputError(
            f"{self._path}: {place}: column {name!r}: got {text!r:.80}, wanted a number,"
            f" {self._hint(text)}"
        )

    def _hint(self, text: str) -> str:
        if self._dialect.decimal == ",":
            if _BARE_NUMBER.fullmatch(text.replace(",", "").lstrip("+-")):
                return "with a decimal comma, as --decimal says, and nothing between thousands"
        elif thousands := _THOUSANDS.fullmatch(text):
            if thousands[1] or text.count(",") > 1:
                return "without commas between thousands"
            return "without a comma between thousands; --decimal , if it is a decimal mark"
        elif _DECIMAL_COMMA.fullmatch(text):
            return "with a decimal point; --decimal , takes a decimal comma"
        return "or an empty cell where it is missing (--na TEXT for another mark)"

    def _time(self, name: str, cell: str | float | None, place: str, unit: str | None) -> float:
        if isinstance(cell, str):
            cell = cell.strip()
            if cell in self._missing or cell.lower() in _NO_TIME:
                return nan
        elif cell is None or cell != cell or cell in self._missing_numbers:
            return nan
        try:
            return seconds_of(cell, unit=unit)
        except SettingsError as error:
            bare = unit is None and _BARE_NUMBER.fullmatch(str(cell))
            hint = " (--time-unit says what numbers count)" if bare else ""
            raise InputError(f"{self._path}: {place}: column {name!r}: {error}{hint}") from None
