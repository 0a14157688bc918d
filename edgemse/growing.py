"""The one maker of cells: an agent's own and a Monitor's are opened, widened and sealed here.

Whoever uses it keeps the cells until they are safe, and calls `forget` then: the agent when its
ledger has the final revision, a Monitor when the agent says that it is durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from edgemse.cells import (
    OVERFLOW,
    UNPLACED_SECONDS,
    Cell,
    Identity,
    SealedCell,
    Series,
    Window,
    new_producer,
    seal,
    unseal,
)
from edgemse.counters import Counters, counter
from edgemse.measures import Numbers
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.observer import OpenStats

__all__ = [
    "GRACE_SECONDS",
    "MEANINGS",
    "START_WIDTH_SECONDS",
    "WIDER_SECONDS",
    "Growing",
    "Merged",
    "OpenCell",
    "coarsened",
]

START_WIDTH_SECONDS = 60
WIDER_SECONDS = (3_600, 86_400)
"""Where everything goes for room: first to hours, then to days."""
GRACE_SECONDS = 2.0
"""How long after its window's end a cell stays open for samples that were under way."""
MEASURES_MAX = 64

MEANINGS = {
    "samples_overflowed": counter("samples counted under the overflow segment, past series_max"),
    "measures_refused": counter("samples of a measure past the 64 that are told apart, not taken"),
    "windows_refused": counter("samples and counts of new windows past twice the bound on cells"),
}


class OpenCell(OpenStats):
    """A cell in memory; `grown` since its last sealed revision, `final` once it cannot grow."""

    __slots__ = ("closes_at", "revision", "sequence", "series", "since", "window")

    def __init__(self, sequence: int, series: Series, window: Window, closes_at: float) -> None:
        super().__init__(window.start, window.end)
        self.sequence, self.series, self.window = sequence, series, window
        self.closes_at = closes_at
        """Wall seconds from which it may be made final."""
        self.revision = 0
        self.since: float | None = None
        """When it grew first since it was written last, as its holder keeps it; None: not known."""

    @property
    def coverage(self) -> Coverage:
        """The cell's coverage, to be counted in."""
        if self.counted is None:
            self.counted = Coverage()
        assert isinstance(self.counted, Coverage)
        return self.counted

    def move(self, window: Window) -> None:
        """Put the cell into another window."""
        self.window, self.start, self.end = window, window.start, window.end

    def seal(self, producer: bytes) -> SealedCell:
        """Return the cell as it stands: a new revision if it has grown since the last."""
        if self.grown:
            self.revision, self.grown = self.revision + 1, False
        return SealedCell(
            Identity(producer, self.sequence),
            self.revision,
            self.final,
            self.series,
            self.window,
            self.stats.to_bytes(),
            None if self.counted is None else self.coverage.to_bytes() or None,
        )


class Growing:
    """The cells of one producer that are not safe elsewhere; bounded in series and cells.

    Past `series_max` outputs and segments samples go into the segment "(overflow)" of their model,
    past twice that into the model "(overflow)"; the measure is kept. While more than half (three
    quarters) of `cells_max` cells are held, new windows are an hour (a day) wide; past twice
    `cells_max` a sample that would need a new window is refused and counted. A cell that is opened
    when its window is over already (a late label) stays open for up to `late_seconds`, until other
    windows are over, so that a hundred late labels are not a hundred final cells. `clock` gives
    wall seconds. Not thread safe.
    """

    def __init__(
        self,
        counters: Counters,
        *,
        width_seconds: int = START_WIDTH_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        series_max: int = 1_000,
        cells_max: int = 5_000,
        producer: bytes | None = None,
        late_seconds: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.producer = producer or new_producer()
        self._late_seconds, self._clock = late_seconds, clock
        self.width_seconds = width_seconds
        self.full = False
        """Set while there is no room for further cells where these go: none is opened then."""
        self._counters, self._grace_seconds = counters, grace_seconds
        self._series_max, self._cells_max = series_max, cells_max
        self._next_sequence = 0
        self._measures: set[str] = set()
        self._known: set[Series] = set()
        """The series that were admitted, without their measure."""
        self.latest: dict[Series, OpenCell] = {}
        """The cell that each series used last: nearly always the next sample's too."""
        self._open: dict[tuple[Series, Window], OpenCell] = {}
        self._held: dict[int, OpenCell] = {}

    def limit(
        self, *, grace_seconds: float, series_max: int, cells_max: int, late_seconds: float
    ) -> None:
        """Go on with other bounds; what is open stays as it is."""
        self._grace_seconds, self._late_seconds = grace_seconds, late_seconds
        self._series_max, self._cells_max = series_max, cells_max

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[OpenCell]:
        return iter(self._held.values())

    def get(self, sequence: int) -> OpenCell | None:
        """Return the cell of that number, if it is still held."""
        return self._held.get(sequence)

    def next_identity(self) -> Identity:
        """Name a new cell of this producer."""
        identity = Identity(self.producer, self._next_sequence)
        self._next_sequence += 1
        return identity

    def cell(self, series: Series, time_seconds: float) -> OpenCell | None:
        """Return the series' cell of that time, about to grow; None (counted) if it is refused."""
        cell = self.latest.get(series)
        if cell is None or cell.final or not cell.start <= time_seconds < cell.end:
            cell = self._find(series, time_seconds)
            if cell is None:
                return None
        cell.grown = True
        return cell

    def sample(
        self, series: Series, time_seconds: float, y_true: float, y_pred: float, weight: float
    ) -> bool:
        """Add a sample to its series' window; False (counted) if that is refused.

        ErrorStats counts what it refuses itself, such as NaN.
        """
        cell = self.cell(series, time_seconds)
        if cell is None:
            return False
        cell.stats.update(y_true, y_pred, weight)
        return True

    def follow(self, series: Series, time_seconds: float, numbers: Numbers, weight: float) -> None:
        """Add numbers of other measures, each to that measure of the series."""
        for measure, value in numbers:
            of_measure = Series(*series[:4], measure)
            self.sample(of_measure, time_seconds, 0.0, value, weight)

    def coverage(self, series: Series, time_seconds: float) -> Coverage:
        """Return the coverage of the series' window, to be counted in at once."""
        cell = self.cell(series, time_seconds)
        return Coverage() if cell is None else cell.coverage  # refused, and counted so

    def close_ended(self, wall_seconds: float, *, everything: bool = False) -> None:
        """Make final what no later sample will reach; a late one opens another cell."""
        for key, cell in list(self._open.items()):
            if everything or cell.closes_at <= wall_seconds:
                cell.final = cell.grown = True
                del self._open[key]

    def place(self, place: Callable[[float], float], *, sent: bool = True) -> None:
        """Put the cells that have no place on the calendar yet there, by what leads to it.

        Without `sent` those of which a revision was sealed become final where they are: whoever
        has it places it.
        """
        for cell in [cell for cell in self._held.values() if cell.window.unplaced]:
            key = (cell.series, cell.window)
            opened = self._open.get(key) is cell
            if opened:
                del self._open[key]
            if cell.revision and not sent:
                cell.grown |= not cell.final
                cell.final = True
                continue
            cell.move(cell.window.placed(place))
            if opened and self._open.setdefault((cell.series, cell.window), cell) is not cell:
                cell.final = cell.grown = True  # two that are one now
        for cell in self._open.values():
            cell.closes_at = place(cell.closes_at)

    def forget(self, cell: OpenCell) -> None:
        """Let go of a cell that is safe elsewhere, or refused for good: it grows no more."""
        cell.final = True
        self._held.pop(cell.sequence, None)
        if self._open.get((cell.series, cell.window)) is cell:
            del self._open[cell.series, cell.window]
        if self.latest.get(cell.series) is cell:
            del self.latest[cell.series]

    def _find(self, series: Series, time_seconds: float) -> OpenCell | None:
        admitted = self._admitted(series)
        if admitted is None:
            return None
        key = (admitted, Window.at(time_seconds, self._width()))
        cell = self._open.get(key)
        if cell is None:
            if self.full or len(self._held) >= 2 * self._cells_max:
                return self._narrower(admitted, time_seconds)
            cell = OpenCell(self.next_identity().sequence, *key, self._closes_at(key[1]))
            self._open[key] = self._held[cell.sequence] = cell
        if admitted is series:
            self.latest[series] = cell
        return cell

    def _closes_at(self, window: Window) -> float:
        grace = self._grace_seconds
        on_time, now = window.end + grace, self._clock()
        if now >= UNPLACED_SECONDS and not window.unplaced:
            # Whether the window is over nobody knows yet: it stays open as long as it is wide.
            return now + max(self._late_seconds, window.width + grace)
        if now < on_time or not self._late_seconds:
            return on_time
        # With the last windows that are over by then, if any: what is final together is written
        # together, and the late cells of twenty series are not twenty writes.
        latest, every = now + self._late_seconds, min(self.width_seconds, START_WIDTH_SECONDS)
        together = (latest - grace) // every * every + grace
        return together if together > now else latest

    def _narrower(self, series: Series, time_seconds: float) -> OpenCell | None:
        """Return a cell of that time that was opened before windows became wider, or count."""
        for width in (self.width_seconds, *WIDER_SECONDS):
            cell = self._open.get((series, Window.at(time_seconds, width)))
            if cell is not None:
                return cell
        self._counters.count("windows_refused")
        return None

    def _width(self) -> int:
        width = self.width_seconds
        for share, wider in zip((2, 4), WIDER_SECONDS, strict=True):
            if len(self._held) > self._cells_max - self._cells_max // share:
                width = max(width, wider)
        return width

    def _admitted(self, series: Series) -> Series | None:
        """Return the series itself, its overflow series, or None if its measure is refused."""
        if series.measure not in self._measures:
            if len(self._measures) > MEASURES_MAX:  # the error is one of them
                self._counters.count("measures_refused")
                return None
            self._measures.add(series.measure)
        place = series._replace(measure="") if series.measure else series
        if place in self._known:
            return series
        if len(self._known) < self._series_max:
            self._known.add(place)
            return series
        self._counters.count("samples_overflowed")
        place = place._replace(segment=OVERFLOW)
        if place not in self._known and len(self._known) >= 2 * self._series_max:
            place = Series(OVERFLOW, segment=OVERFLOW)
        self._known.add(place)
        return place._replace(measure=series.measure)


class Merged(NamedTuple):
    """A wide cell, and the cells whose samples it holds."""

    cell: SealedCell
    absorbed: list[Identity]


def coarsened(
    cells: Iterable[SealedCell],
    width_seconds: int,
    next_identity: Callable[[], Identity],
    *,
    fold: Callable[[Series], Series] | None = None,
) -> list[Merged]:
    """Merge cells of one series, or of what `fold` makes one, that nest in one wide window.

    A cell that would be alone is left as it is. The caller passes only cells that may be absorbed
    (final; on a device: of an agent run of this ledger, never exposed) and writes the new and
    deletes the old in one transaction.
    """
    groups: dict[tuple[Series, Window], list[SealedCell]] = {}
    for cell in cells:
        series = fold(cell.series) if fold else cell.series
        groups.setdefault((series, cell.window.widened(width_seconds)), []).append(cell)
    out = []
    for (series, window), members in groups.items():
        if len(members) < 2:
            continue
        stats, coverage = ErrorStats(), Coverage()
        for member in map(unseal, members):
            stats.merge(member.stats)
            coverage.merge(member.coverage)
        wide = Cell(next_identity(), 1, True, series, window, stats, coverage)
        out.append(Merged(seal(wide), [member.identity for member in members]))
    return out
