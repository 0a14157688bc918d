"""A question that nobody waits for any more is stopped, where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from edgemse.errors import StoreError
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stores.base import Key, Reading, Rows, Selection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Stop", "Stoppable"]


class Stop:
    """Says once, from any thread, that what is being done is no longer wanted."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._reading: Reading | None = None
        self.stopped = False
        """Whether it has been said."""

    def stop(self) -> None:
        """Have the work end with StoreError: at once in a SELECT, else before the next one."""
        with self._lock:
            self.stopped = True
            if self._reading is not None:
                self._reading.interrupt()

    def check(self) -> None:
        """Raise StoreError if it has been said."""
        if self.stopped:
            raise StoreError("the question was stopped: nobody waits for its answer any more")

    def watch(self, reading: Reading | None) -> None:
        """Interrupt that view when it is said; None: it is no longer open."""
        with self._lock:
            self._reading = reading


class Stoppable:
    """A Reading that asks before each SELECT whether its answer is still wanted."""

    def __init__(self, reading: Reading, stop: Stop) -> None:
        self._reading, self._stop = reading, stop

    def __enter__(self) -> Stoppable:
        """Let the view be interrupted from now on."""
        self._stop.watch(self._reading)
        return self

    def __exit__(self, *_: object) -> None:
        """The view may be closed: nothing interrupts it any more."""
        self._stop.watch(None)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one SELECT; see Reading.rows."""
        self._stop.check()
        return self._reading.rows(sql, parameters)

    def arrays(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[NDArray[np.float64] | NDArray[np.int64]]:
        """Run one SELECT of numbers; see Reading.arrays."""
        self._stop.check()
        return self._reading.arrays(sql, parameters)

    def to_parquet(self, sql: str, parameters: Sequence[object], path: Path) -> None:
        """Write the rows of one SELECT; see Reading.to_parquet."""
        self._stop.check()
        self._reading.to_parquet(sql, parameters, path)

    def histograms(
        self, selection: Selection, column: str = "histogram"
    ) -> Mapping[Key, ResidualHistogram | None]:
        """Merge a histogram column by group; see Reading.histograms."""
        self._stop.check()
        return self._reading.histograms(selection, column)

    def interrupt(self) -> None:
        """End what another thread runs; see Reading.interrupt."""
        self._reading.interrupt()
