"""Cells: the statistics of one series in one window, as one producer saw them.

The one rule of everything that holds cells: keep the highest revision of each identity. Whom a cell
came from is not part of it: a device may be renamed, a cell may not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from edgemse.errors import CellError
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats

__all__ = [
    "LEVELS_SECONDS",
    "OVERFLOW",
    "PRODUCER_BYTES",
    "START_SECONDS_MAX",
    "Cell",
    "Identity",
    "SealedCell",
    "Series",
    "Window",
    "check",
    "check_place",
    "new_producer",
    "newest",
    "seal",
    "unseal",
]

PRODUCER_BYTES = 16
"""128 random bits: no crash, cloned card or renamed device can reuse an identity."""

LEVELS_SECONDS = (10, 60, 300, 3_600, 86_400)
"""Window widths; each divides the next, so narrow windows nest in wide ones."""

START_SECONDS_MAX = 2**33
"""Windows start before the year 2242; what claims more has a broken clock."""

OVERFLOW = "(overflow)"
"""The name that counts, exactly once, what a bound on the number of series turned away."""


class Identity(NamedTuple):
    """What a cell is called, everywhere: its producer's 16 bytes and a sequence number."""

    producer: bytes
    sequence: int


class Series(NamedTuple):
    """What is being measured, and the number that is followed of it.

    `output` names a column of a multi-output model or a forecast horizon. `measure` is empty for
    the error y_pred - y_true; any other name (`loss:huber(delta=1)`, `latency`) is any number a
    sample, in the same algebra, and never merged with errors or with another measure.
    """

    model: str
    version: str = ""
    output: str = ""
    segment: str = ""
    measure: str = ""


class Window(NamedTuple):
    """[start, start + width) in seconds since 1970-01-01 UTC, aligned on multiples of width."""

    start: int
    width: int

    @classmethod
    def at(cls, time_seconds: float, width_seconds: int) -> Window:
        """Return the window of that width that holds the time.

        >>> Window.at(125.5, 60)
        Window(start=120, width=60)
        """
        return cls(int(time_seconds // width_seconds) * width_seconds, width_seconds)

    @property
    def end(self) -> int:
        """The first second after the window."""
        return self.start + self.width

    def widened(self, width_seconds: int) -> Window:
        """Return the window of that greater width that this one nests in."""
        assert width_seconds % self.width == 0, (self, width_seconds)
        return Window.at(self.start, width_seconds)


@dataclass(frozen=True, slots=True)
class Cell:
    """One revision of one cell; a `final` cell never grows again."""

    identity: Identity
    revision: int
    final: bool
    series: Series
    window: Window
    stats: ErrorStats
    coverage: Coverage


class SealedCell(NamedTuple):
    """A cell with its statistics in bytes, as a ledger keeps it and a report carries it."""

    identity: Identity
    revision: int
    final: bool
    series: Series
    window: Window
    state: bytes
    coverage: bytes | None
    """`Coverage.to_bytes()`; None where samples came whole and there is nothing to say."""


def seal(cell: Cell) -> SealedCell:
    """Return the cell with its statistics in bytes; an empty coverage becomes None."""
    return SealedCell(
        cell.identity,
        cell.revision,
        cell.final,
        cell.series,
        cell.window,
        cell.stats.to_bytes(),
        cell.coverage.to_bytes() or None,
    )


def check(sealed: SealedCell) -> None:
    """Raise CellError or another StateError, with the reason, unless the cell is sound."""
    unseal(sealed)


def check_place(series: Series, window: Window) -> None:
    """Raise CellError unless these are a window and a model that can be."""
    start, width = window
    if width not in LEVELS_SECONDS or start % width or not 0 <= start < START_SECONDS_MAX:
        raise CellError(
            "window",
            f"window [{start}, +{width}): wanted a width of {LEVELS_SECONDS} seconds"
            f" and a start from 0 to {START_SECONDS_MAX} on its multiples",
        )
    if not series.model:
        raise CellError("name", "a series without a model; wanted its name")


def unseal(sealed: SealedCell) -> Cell:
    """Return the cell, or raise CellError or another StateError with the reason."""
    check_place(sealed.series, sealed.window)
    return Cell(
        sealed.identity,
        sealed.revision,
        sealed.final,
        sealed.series,
        sealed.window,
        ErrorStats.from_bytes(sealed.state),
        Coverage.from_bytes(sealed.coverage or b""),
    )


def new_producer(random_bytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """Draw the name of a new producer: one process memory that makes cells."""
    return random_bytes(PRODUCER_BYTES)


def newest(held: int | None, offered: int) -> bool:
    """Tell whether a revision replaces the one that is held (None: none is)."""
    return held is None or offered > held
