"""The cells that a Monitor makes: grown by samples, sent when they grew, kept until durable."""

from __future__ import annotations

import base64
import json

from edgemse.cells import Series, Window, new_producer
from edgemse.stats.error_stats import ErrorStats

__all__ = ["OwnCells"]

WIDER_SECONDS = (3_600, 86_400)
"""Window widths for when half and three quarters of cells_max are held."""
OVERFLOW = "(overflow)"


class _Own:
    __slots__ = (
        "durable",
        "end",
        "final",
        "grown",
        "revision",
        "sent",
        "sequence",
        "series",
        "start",
        "stats",
        "window",
    )

    def __init__(self, sequence: int, series: Series, window: Window) -> None:
        self.sequence, self.series, self.window = sequence, series, window
        self.start, self.end = window.start, window.end
        self.stats = ErrorStats()
        self.grown, self.final = True, False
        self.revision = self.sent = self.durable = 0


class OwnCells:
    """One producer's cells. Not thread safe: Monitor holds a lock around every call."""

    def __init__(self, model: str, version: str, *, cells_max: int, series_max: int) -> None:
        self.producer = new_producer()
        self.width_seconds = 60
        self.overflowed = 0
        self._model, self._version = model, version
        self._cells_max, self._series_max = cells_max, series_max
        self._open: dict[tuple[str, str, Window], _Own] = {}
        self._latest: dict[tuple[str, str], _Own] = {}
        """The cell that each output and segment used last: nearly always the next one's too."""
        self._held: dict[int, _Own] = {}
        self._known: set[tuple[str, str]] = set()
        self._next_sequence = 0

    def add(
        self,
        output: str,
        segment: str,
        time_seconds: float,
        y_true: float,
        y_pred: float,
        weight: float = 1.0,
    ) -> None:
        """Add one sample of that time."""
        cell = self._latest.get((output, segment))
        if cell is None or cell.final or not cell.start <= time_seconds < cell.end:
            cell = self._cell(output, segment, time_seconds)
        cell.stats.update(y_true, y_pred, weight)
        cell.grown = True

    def _cell(self, output: str, segment: str, time_seconds: float) -> _Own:
        key = (output, segment, Window.at(time_seconds, self._width()))
        cell = self._open.get(key) or self._opened(key)
        if (output, segment) in self._known:
            self._latest[output, segment] = cell
        return cell

    def _opened(self, key: tuple[str, str, Window]) -> _Own:
        output, segment, window = key
        if (output, segment) not in self._known:
            if len(self._known) >= self._series_max:
                self.overflowed += 1
                key = ("", OVERFLOW, window)
                if key in self._open:
                    return self._open[key]
            else:
                self._known.add((output, segment))
        series = Series(self._model, self._version, key[0], key[1])
        cell = _Own(self._next_sequence, series, window)
        self._next_sequence += 1
        self._open[key] = self._held[cell.sequence] = cell
        return cell

    def _width(self) -> int:
        width = self.width_seconds
        for share, wider in zip((2, 4), WIDER_SECONDS, strict=True):
            if len(self._held) > self._cells_max - self._cells_max // share:
                width = max(width, wider)
        return width

    def close_ended(self, now: float, *, everything: bool = False) -> None:
        """Make final what no later sample will reach; a late one opens another cell."""
        for key, cell in list(self._open.items()):
            if everything or cell.window.end + 1 <= now:
                cell.final = cell.grown = True
                del self._open[key]

    def lines(self, *, again: bool) -> list[bytes]:
        """Return the lines of all cells that grew; `again`, also those not durable yet."""
        out = []
        for cell in self._held.values():
            if cell.grown:
                cell.revision += 1
                cell.grown = False
            if cell.sent < cell.revision or (again and cell.durable < cell.revision):
                cell.sent = cell.revision
                out.append(self._line(cell))
        return out

    def _line(self, cell: _Own) -> bytes:
        return json.dumps(
            {
                "producer": self.producer.hex(),
                "sequence": cell.sequence,
                "revision": cell.revision,
                "final": cell.final,
                "series": cell.series,
                "window": cell.window,
                "state": base64.b64encode(cell.stats.to_bytes()).decode(),
            }
        ).encode()

    def durable(self, sequence: int, revision: int) -> None:
        """Take what the agent says; a final cell is then forgotten."""
        cell = self._held.get(sequence)
        if cell is None:
            return
        cell.durable = max(cell.durable, revision)
        if cell.final and not cell.grown and cell.durable >= cell.revision:
            del self._held[sequence]

    @property
    def undurable(self) -> int:
        """How many cells hold something that would not survive this process."""
        return sum(c.grown or c.durable < c.revision for c in self._held.values())
