"""What is read of a file: which columns, by which rules, and the chunks that come of it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from edgemse.errors import SettingsError
from edgemse.times import UNITS

__all__ = ["CHUNK_ROWS", "Chunk", "Columns", "Dialect"]

CHUNK_ROWS = 50_000
DECIMALS = (".", ",")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read, and as what."""

    numbers: Sequence[str] = ()
    """float64; NaN where the cell is empty."""
    texts: Sequence[str] = ()
    """Text; "" where the cell is empty."""
    times: Sequence[str] = ()
    """UTC seconds, as edgemse.times reads them; NaN where the cell is empty."""

    def names(self) -> list[str]:
        """Return every column, each once."""
        return list(dict.fromkeys([*self.numbers, *self.texts, *self.times]))


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written, where that is not to be seen from it."""

    delimiter: str = ""
    """Between the cells of a CSV file; empty: the one with which the header has the columns."""
    decimal: str = "."
    na: tuple[str, ...] = ()
    """Texts that mean missing, as an empty cell does."""
    time_unit: str | None = None
    """What bare numbers of a time count since 1970: s, ms, us or ns; None: by their digits."""

    def __post_init__(self) -> None:
        if self.decimal not in DECIMALS:
            raise SettingsError(f"--decimal {self.decimal!r}: wanted . or ,")
        if len(self.delimiter) > 1:
            raise SettingsError(f"--delimiter {self.delimiter!r}: wanted one character")
        if self.delimiter and self.delimiter == self.decimal:
            raise SettingsError(f"--delimiter and --decimal: both are {self.decimal!r}")
        if self.time_unit is not None and self.time_unit not in UNITS:
            raise SettingsError(f"--time-unit {self.time_unit!r}: wanted one of {', '.join(UNITS)}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file, column by column, and how much of the file has been read."""

    rows: int
    numbers: dict[str, array[float]]
    texts: dict[str, list[str]]
    times: dict[str, array[float]]
    done: float
    """0 to 1."""
    where: Sequence[str]
    """Of each row the place in its file, for people: "line 7", "row 3"."""
