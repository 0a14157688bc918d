"""The agent's own open cells: one for each series and window that something reached lately."""

from __future__ import annotations

from collections.abc import Iterable

from edgemse.cells import Identity, SealedCell, Series, Window, new_producer
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats
from edgemse_agent.health import Health

__all__ = ["OVERFLOW", "Windows"]

OVERFLOW = "(overflow)"
"""The segment, or past twice the bound the model, that counts what series_max turned away."""


WIDER_SECONDS = (3_600, 86_400)
"""Widths for when half as many, and as many, cells as may be open wait for a ledger that fails."""


class _Open:
    """A cell that may still grow; `grown` since its last sealed revision."""

    __slots__ = ("coverage", "grown", "revision", "sequence", "series", "stats", "window")

    def __init__(self, sequence: int, series: Series, window: Window) -> None:
        self.sequence, self.series, self.window = sequence, series, window
        self.stats, self.coverage = ErrorStats(), Coverage()
        self.revision = 0
        self.grown = True


class Windows:
    """Adds samples and coverage to cells of this producer; bounded in series and open cells.

    A commit has two halves, so that a failed one loses nothing: `sealed` returns the next
    revisions, and `settle`, after they are in the ledger, makes them the last ones.
    """

    def __init__(
        self,
        health: Health,
        *,
        width_seconds: int,
        grace_seconds: float = 2.0,
        series_max: int = 1_000,
        open_cells_max: int = 5_000,
        producer: bytes | None = None,
    ) -> None:
        self.producer = producer or new_producer()
        self.width_seconds = width_seconds
        self._grace_seconds = grace_seconds
        self._series_max, self._open_cells_max = series_max, open_cells_max
        self._health = health
        self._next_sequence = 0
        self._known: set[Series] = set()
        self._open: dict[tuple[Series, Window], _Open] = {}
        self._closed: list[_Open] = []

    def next_identity(self) -> Identity:
        """Name a new cell of this producer."""
        identity = Identity(self.producer, self._next_sequence)
        self._next_sequence += 1
        return identity

    def sample(
        self, series: Series, time_seconds: float, y_true: float, y_pred: float, weight: float
    ) -> None:
        """Add a sample to its series' window; ErrorStats counts what it refuses."""
        self._cell(series, time_seconds).stats.update(y_true, y_pred, weight)
        self._health.count("samples")

    def coverage(self, series: Series, time_seconds: float) -> Coverage:
        """Return the coverage of the series' window, to be counted in at once."""
        return self._cell(series, time_seconds).coverage

    def waits(self, wall_seconds: float) -> bool:
        """Whether a commit has something to write: a cell that grew, or whose window is over."""
        return bool(self._closed) or any(
            cell.grown or self._is_over(cell, wall_seconds) for cell in self._open.values()
        )

    def sealed(self, wall_seconds: float, *, everything: bool = False) -> list[SealedCell]:
        """Return the next revision of every cell that has grown or whose window is over.

        With `everything`, as at the end of the run, all become final.
        """
        out = [self._seal(cell, final=True) for cell in self._closed]
        for cell in self._open.values():
            final = everything or self._is_over(cell, wall_seconds)
            if final or cell.grown:
                out.append(self._seal(cell, final=final))
        return out

    def settle(self, sealed: Iterable[SealedCell]) -> None:
        """Take the revisions that `sealed` returned as written; nothing came in between."""
        self._closed.clear()
        for written in sealed:
            key = (written.series, written.window)
            cell = self._open.get(key)
            if cell is None or cell.sequence != written.identity.sequence:
                continue
            cell.revision, cell.grown = written.revision, False
            if written.final:
                del self._open[key]

    def _is_over(self, cell: _Open, wall_seconds: float) -> bool:
        return cell.window.end + self._grace_seconds <= wall_seconds

    def _seal(self, cell: _Open, *, final: bool) -> SealedCell:
        return SealedCell(
            Identity(self.producer, cell.sequence),
            cell.revision + 1,
            final,
            cell.series,
            cell.window,
            cell.stats.to_bytes(),
            cell.coverage.to_row() if cell.coverage else None,
        )

    def _cell(self, series: Series, time_seconds: float) -> _Open:
        series = self._admitted(series)
        key = (series, Window.at(time_seconds, self._width()))
        cell = self._open.get(key)
        if cell is None:
            if len(self._open) >= self._open_cells_max:
                self._closed.append(self._open.pop(next(iter(self._open))))
                self._health.count("cells_closed_early")
            cell = _Open(self.next_identity().sequence, *key)
            self._open[key] = cell
        cell.grown = True
        return cell

    def _width(self) -> int:
        """Return the width of a new window: wider while the ledger takes nothing for long."""
        width = self.width_seconds
        for share, wider in enumerate(WIDER_SECONDS, 1):
            if len(self._closed) > share * self._open_cells_max // 2:
                width = max(width, wider)
        return width

    def _admitted(self, series: Series) -> Series:
        """Return the series itself, or the overflow series once series_max are known."""
        if series not in self._known:
            if len(self._known) >= self._series_max:
                series = series._replace(segment=OVERFLOW)
                self._health.count("samples_overflowed")
                if series not in self._known and len(self._known) >= 2 * self._series_max:
                    series = Series(OVERFLOW, segment=OVERFLOW)
            self._known.add(series)
        return series
