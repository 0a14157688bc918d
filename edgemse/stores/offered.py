"""A cell on its way into a store: checked once, and taken apart into columns."""

from __future__ import annotations

from typing import NamedTuple

from edgemse.cells import SealedCell, check_place
from edgemse.stats.coverage import CoverageRow
from edgemse.stats.moments import Moments
from edgemse.stats.parts import split_coverage, split_state
from edgemse.stores.tables import Row

__all__ = ["Offered", "opened"]


class Offered(NamedTuple):
    """A sound cell, the device whose report it came in, and its bytes as columns."""

    device: str
    cell: SealedCell
    moments: Moments
    histogram: bytes | None
    coverage: CoverageRow

    @property
    def largest_count(self) -> int:
        """The highest of everything that the cell counts."""
        moments = self.moments
        return max(moments.count, moments.nonfinite, moments.out_of_range, *self.coverage[:6])

    def row(self) -> Row:
        """Return the cell in the order of the table CELLS."""
        cell = self.cell
        return (
            *cell.identity,
            cell.revision,
            cell.final,
            self.device,
            *cell.series,
            *cell.window,
            *self.moments,
            self.histogram,
            *self.coverage,
        )


def opened(device: str, cell: SealedCell) -> Offered:
    """Take a cell apart, or raise CellError or another StateError with what is wrong with it."""
    check_place(cell)
    moments, histogram = split_state(cell.state)
    return Offered(device, cell, moments, histogram or None, split_coverage(cell.coverage or b""))
