"""Monitors' cells on their way through: passed on as they came, never merged.

While the collector answers they stay in memory and never touch the SD card; what is not
acknowledged in time goes to the ledger. Either way the Monitor hears when a revision is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgemse.cells import Identity, SealedCell, newest

__all__ = ["Relay", "Relayed"]

Tell = Callable[[Identity, int], None]
"""Called with an identity and the revision of it that is durable now."""


class Relayed:
    """One cell in memory. `since` is when its oldest revision that is not durable came."""

    __slots__ = ("cell", "exposed", "since", "tell")

    def __init__(self, cell: SealedCell, since: float, tell: Tell) -> None:
        self.cell, self.since, self.tell = cell, since, tell
        self.exposed = False


class Relay:
    """The cells of Monitors that are not durable yet."""

    def __init__(self, *, cells_max: int = 10_000) -> None:
        self._cells_max = cells_max
        self._cells: dict[Identity, Relayed] = {}

    def __len__(self) -> int:
        return len(self._cells)

    def take(self, cell: SealedCell, now: float, tell: Tell) -> bool:
        """Take a revision and the Monitor's ear; False if it is not newer than the one held."""
        held = self._cells.get(cell.identity)
        if held is None:
            self._cells[cell.identity] = Relayed(cell, now, tell)
            return True
        held.tell = tell
        if newest(held.cell.revision, cell.revision):
            held.cell = cell  # `since` stays: the oldest sample's 30 s are running
            return True
        return False

    def due(self) -> list[Relayed]:
        """Return the cells in memory, those once exposed first."""
        return sorted(self._cells.values(), key=lambda relayed: not relayed.exposed)

    def overdue(self, now: float, after_seconds: float) -> list[Relayed]:
        """Return what must go to the ledger now: too long in memory, or too many."""
        if len(self._cells) > self._cells_max:
            return list(self._cells.values())
        return [r for r in self._cells.values() if now - r.since >= after_seconds]

    def everything(self) -> list[Relayed]:
        """Return all cells in memory, for the last commit."""
        return list(self._cells.values())

    def durable(self, revisions: Iterable[tuple[Identity, int]]) -> None:
        """Tell the Monitors which revisions are durable, and forget what is wholly so."""
        for identity, revision in revisions:
            held = self._cells.get(identity)
            if held is None:
                continue
            held.tell(identity, revision)
            if revision >= held.cell.revision:
                del self._cells[identity]
