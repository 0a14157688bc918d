"""A Monitor's conversation with the agent about its cells, without I/O.

`hello` begins a connection, `heard` takes what the agent says, `due` returns the lines to write
now. Whoever drives it owns the socket, the clock and a lock.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from typing import Any

from edgemse.cells import LEVELS_SECONDS, START_SECONDS_MAX, Series
from edgemse.counters import Counters
from edgemse.growing import Growing, OpenCell
from edgemse.measures import Numbers
from edgemse.monitor.checks import as_double, checked_names
from edgemse.monitor.session import FLUSH

__all__ = ["CellConversation"]

log = logging.getLogger(__name__)


class CellConversation:
    """One producer's cells: grown by samples, sent when they grew, kept until durable."""

    def __init__(
        self, model: str, version: str, counters: Counters, *, cells_max: int, series_max: int
    ) -> None:
        self._series = Series(model, version)
        self._counters = counters
        self._growing = Growing(counters, cells_max=cells_max, series_max=series_max)
        self.latest: dict[str, dict[str, OpenCell]] = {}
        """By output and segment, the error's cell that the last sample went to: nearly always the
        next one's too, which then need not come here."""
        self._durable: dict[int, int] = {}
        self._again = True
        self._flush = False

    @property
    def producer(self) -> bytes:
        """The name of this process memory."""
        return self._growing.producer

    @property
    def width_seconds(self) -> int:
        """The width of new windows, as the agent wants it."""
        return self._growing.width_seconds

    def add(
        self,
        output: str,
        segment: str,
        time_seconds: float,
        y_true: float,
        y_pred: float,
        weight: float = 1.0,
    ) -> None:
        """Add one sample of that time to the error."""
        cell = self.latest.get(output, {}).get(segment)
        if cell is None or cell.final or not cell.start <= time_seconds < cell.end:
            cell = self._cell(output, segment, time_seconds)
            if cell is None:
                return
        try:
            cell.stats.update(y_true, y_pred, weight)
        except OverflowError:  # a whole number that no float64 holds
            cell.stats.update(as_double(y_true), as_double(y_pred), as_double(weight))
        cell.grown = True

    def follow(
        self,
        numbers: Numbers,
        output: str,
        segment: str,
        time_seconds: float,
        weight: float = 1.0,
    ) -> None:
        """Add numbers of other measures than the error."""
        model, version, at = *self._series[:2], self._possible(time_seconds)
        for measure, value in numbers:
            series = Series(model, version, output, segment, measure)
            self._growing.sample(series, at, 0.0, value, as_double(weight))

    def _cell(self, output: str, segment: str, time_seconds: float) -> OpenCell | None:
        checked_names(output=output, segment=segment)
        series = self._series._replace(output=output, segment=segment)
        cell = self._growing.cell(series, self._possible(time_seconds))
        # An overflow's key would never be let go; and a lookup must not run a subclass's methods.
        if cell is not None and cell.series == series and type(output) is type(segment) is str:
            self.latest.setdefault(output, {})[segment] = cell
        return cell

    def _possible(self, time_seconds: float) -> float:
        """Return the time, or the nearest that a window can have (counted): no clock is trusted."""
        bounded = min(max(time_seconds, 0.0), START_SECONDS_MAX - 1.0)
        if bounded != time_seconds:
            self._counters.count("times_bounded")
        return bounded

    def close_ended(self, now: float, *, everything: bool = False) -> None:
        """Make final what no later sample will reach; a late one opens another cell."""
        self._growing.close_ended(now, everything=everything)

    def hello(self) -> bytes:
        """Return the first line of a connection; what is not durable goes again after it."""
        self._again = True
        return _line({"producer": self.producer.hex()})

    def flush(self) -> None:
        """Ask the agent not to wait with these cells."""
        self._flush = True

    def heard(self, reply: Mapping[str, Any]) -> None:
        """Take what the agent says: the width that it wants, what is durable, what it refuses.

        It says `again` when it has room for what it turned away.
        """
        self._again |= bool(reply.get("again"))
        width = reply.get("width_seconds", self.width_seconds)
        if width not in LEVELS_SECONDS:  # a cell of such a window nobody would take
            raise ValueError(f"width_seconds {width!r:.80}: wanted one of {LEVELS_SECONDS}")
        self._growing.width_seconds = width
        for sequence, revision in reply.get("durable_cells", ()):
            self._take_durable(sequence, revision)
        if "refused_cell" in reply:
            self._park(*reply["refused_cell"])

    def due(self) -> list[bytes]:
        """Return the lines of the cells that grew, after a hello also of those not durable."""
        again, self._again = self._again, False
        lines = [
            self._cell_line(cell)
            for cell in self._growing
            if cell.grown or (again and self._durable.get(cell.sequence, 0) < cell.revision)
        ]
        if self._flush:
            self._flush = False
            lines.append(FLUSH)
        return lines

    @property
    def undurable(self) -> int:
        """How many cells hold something that would not survive this process."""
        durable = self._durable
        return sum(c.grown or durable.get(c.sequence, 0) < c.revision for c in self._growing)

    def _take_durable(self, sequence: int, revision: int) -> None:
        cell = self._growing.get(sequence)
        if cell is None:
            return
        durable = max(revision, self._durable.get(sequence, 0))
        if cell.final and not cell.grown and durable >= cell.revision:
            self._growing.forget(cell)
            self._durable.pop(sequence, None)
        else:
            self._durable[sequence] = durable

    def _park(self, sequence: int, revision: int, why: str) -> None:
        """Give up a cell that the agent will never take, so that it does not block the rest."""
        cell = self._growing.get(sequence)
        if cell is None or cell.revision != revision:
            return
        self._counters.count("cells_refused")
        log.error("the agent refuses a cell of %d samples: %s", cell.stats.count, why)
        self._growing.forget(cell)
        self._durable.pop(sequence, None)

    def _cell_line(self, cell: OpenCell) -> bytes:
        sealed = cell.seal(self.producer)
        return _line(
            {
                "producer": self.producer.hex(),
                "sequence": sealed.identity.sequence,
                "revision": sealed.revision,
                "final": sealed.final,
                "series": sealed.series,
                "window": sealed.window,
                "state": base64.b64encode(sealed.state).decode(),
            }
        )


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"
