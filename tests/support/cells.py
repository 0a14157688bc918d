"""Cells with known contents."""

from __future__ import annotations

import random

from edgemse.cells import Cell, Identity, Series, Window, seal
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import Batch, Offered

START = 1_767_225_600
"""2026-01-01 00:00 UTC."""


SERIES = Series("model", "v1")


def producer(number: int) -> bytes:
    return number.to_bytes(16, "big")


def filled(seed: int, count: int = 20, offset: float = 0.0) -> ErrorStats:
    rng = random.Random(seed)
    truth = [rng.gauss(20, 5) for _ in range(count)]
    stats = ErrorStats()
    stats.update_many(truth, [y + offset + rng.gauss(0, 1) for y in truth])
    return stats


def cell(
    number: int = 1,
    sequence: int = 0,
    revision: int = 1,
    *,
    series: Series = SERIES,
    start: int = START,
    stats: ErrorStats | None = None,
    coverage: Coverage | None = None,
    final: bool = False,
) -> Cell:
    return Cell(
        Identity(producer(number), sequence),
        revision,
        final,
        series,
        Window(start, 60),
        filled(number * 1_000 + sequence * 10 + revision) if stats is None else stats,
        Coverage() if coverage is None else coverage,
    )


def offered(*placed: tuple[str, Cell]) -> Offered:
    """Return what a store takes of cells, each with the device whose report it came in."""
    cells = Offered()
    for device, cell in placed:
        cells.take_sealed(device, seal(cell))
    return cells


def batch(*cells: Cell, device: str = "pi-1") -> Batch:
    """Return what a store takes of cells that came in a report of the device."""
    return Batch(cells=offered(*((device, each) for each in cells)))
