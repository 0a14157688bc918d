"""Which samples are in which cell, noted from outside while the real code makes the cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from edgemse_agent import room
from edgemse_agent.agent import Agent
from edgemse_agent.taking import Taken

from edgemse.cells import Identity, SealedCell, Series, unseal
from edgemse.growing import Merged, OpenCell, coarsened
from edgemse.monitor.cells import CellConversation

__all__ = ["Marks", "MonitorMarks"]


class Marks:
    """Of each cell the errors of its samples, in the order in which they came into it."""

    def __init__(self) -> None:
        self._errors: dict[tuple[bytes, int], list[float]] = defaultdict(list)
        room.coarsened = self._coarsened

    def close(self) -> None:
        """Leave the code as it was."""
        room.coarsened = coarsened

    def note(self, producer: bytes, sequence: int, error: float) -> None:
        """Take it that a sample went into that cell."""
        self._errors[producer, sequence].append(error)

    def of(self, identity: Identity, count: int) -> list[float]:
        """Return the first so many samples of a cell."""
        return self._errors[identity.producer, identity.sequence][:count]

    def watch(self, agent: Agent, refused: Callable[[float], None]) -> None:
        """Note where an agent's own samples go; `refused` hears of those that it counts so."""
        growing, counters = agent.growing, agent.counters
        sample = growing.sample

        def noted(series: Series, time: float, y_true: float, y_pred: float, weight: float) -> bool:
            before = counters["windows_refused"]
            if not sample(series, time, y_true, y_pred, weight):
                assert counters["windows_refused"] == before + 1, "refused, and not counted"
                refused(y_pred)
                return False
            cell = growing.cell(series, time)
            assert cell is not None
            self.note(growing.producer, cell.sequence, y_pred)
            return True

        growing.sample = noted  # type: ignore[method-assign]
        # Compiled code shows nobody where it puts a sample: lines go the long way, which does the
        # same (tests/agent/test_usual.py).
        agent.take_usual = lambda _data, at, _session: Taken(0, at)  # type: ignore[method-assign]

    def _coarsened(
        self, cells: Iterable[SealedCell], width_seconds: int, *rest: Any, **more: Any
    ) -> list[Merged]:
        cells = list(cells)
        counts = {cell.identity: unseal(cell).stats.count for cell in cells}
        merged = coarsened(cells, width_seconds, *rest, **more)
        for each in merged:
            for identity in each.absorbed:
                for error in self.of(identity, counts[identity]):
                    self.note(*each.cell.identity, error)
        return merged


class MonitorMarks:
    """Which samples of a Monitor are durable by what it was told."""

    def __init__(self, marks: Marks, cells: CellConversation) -> None:
        self._marks, self._cells = marks, cells
        self._sequences: set[int] = set()
        self._counts: dict[tuple[int, int], int] = {}
        self._told: dict[int, int] = defaultdict(int)
        line, durable = cells._cell_line, cells._take_durable

        def noted(cell: OpenCell) -> bytes:
            out = line(cell)
            self._counts[cell.sequence, cell.revision] = cell.stats.count
            return out

        def told(sequence: int, revision: int) -> None:
            count = self._counts.get((sequence, revision), 0)
            self._told[sequence] = max(count, self._told[sequence])
            durable(sequence, revision)

        cells._cell_line, cells._take_durable = noted, told  # type: ignore[method-assign]

    def add(self, segment: str, time: float, error: float) -> None:
        """Let the Monitor observe a sample."""
        self._cells.add("", segment, time, 0.0, error)
        sequence = self._cells.latest[""][segment].sequence
        self._sequences.add(sequence)
        self._marks.note(self._cells.producer, sequence, error)

    def untold(self) -> list[float]:
        """Return the samples that may be gone if the Monitor's process ends now."""
        out = []
        for sequence in self._sequences:
            identity = Identity(self._cells.producer, sequence)
            out += self._marks.of(identity, 1 << 60)[self._told[sequence] :]
        return out
