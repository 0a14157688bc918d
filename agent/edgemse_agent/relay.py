"""Monitors' cells on their way through: passed on as they came, never merged.

While the collector answers they stay in memory and never touch the SD card; what is not
acknowledged in time goes to the ledger. Either way the Monitor hears when a revision is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from edgemse.cells import Identity, SealedCell, newest

__all__ = ["Relay", "Relayed"]

Tell = Callable[[Identity, int], None]
"""Called with an identity and the revision of it that is durable now."""


class Relayed:
    """One cell in memory. `since` is when its oldest revision that is not durable came.

    `exposed` is the highest revision that may have been handed to the broker, 0 if none.
    """

    __slots__ = ("cell", "exposed", "since", "tell")

    def __init__(self, cell: SealedCell, since: float, tell: Tell) -> None:
        self.cell, self.since, self.tell = cell, since, tell
        self.exposed = 0


class Relay:
    """The cells of Monitors that are not durable yet.

    From half of `cells_max` on they go to the ledger, if that has room; at `cells_max` Monitors
    have to keep further ones.
    """

    def __init__(self, *, cells_max: int = 20_000) -> None:
        self._cells_max = cells_max
        self._cells: dict[Identity, Relayed] = {}

    def __len__(self) -> int:
        return len(self._cells)

    def take(self, cell: SealedCell, now: float, tell: Tell) -> bool:
        """Take a revision and the Monitor's ear; False if it is not newer than the one held.

        Whoever calls has asked `has_room`.
        """
        held = self._cells.get(cell.identity)
        if held is None:
            self._cells[cell.identity] = Relayed(cell, now, tell)
            return True
        held.tell = tell
        if newest(held.cell.revision, cell.revision):
            held.cell = cell  # `since` stays: the oldest sample's time is running
            return True
        return False

    def has_room(self, identity: Identity) -> bool:
        """Whether a cell can be taken: there is room, or an earlier revision is here."""
        return len(self._cells) < self._cells_max or identity in self._cells

    @property
    def crowded(self) -> bool:
        """Whether the cells are too many for memory."""
        return len(self._cells) > self._cells_max // 2

    def due(self) -> list[Relayed]:
        """Return the cells in memory, those once exposed first."""
        return sorted(self._cells.values(), key=lambda relayed: not relayed.exposed)

    def overdue(self, now: float, after_seconds: float) -> list[Relayed]:
        """Return what must go to the ledger now: too long in memory, or too many."""
        if self.crowded:
            return list(self._cells.values())
        return [r for r in self._cells.values() if now - r.since >= after_seconds]

    def everything(self) -> list[Relayed]:
        """Return all cells in memory, for the last commit."""
        return list(self._cells.values())

    def acked(self, committed: Mapping[Identity, int]) -> None:
        """Take what the collector holds; of each cell it counts up to what was handed over.

        The store may hold a later revision than this agent ever did (a crash in between), and
        whoever can write to the broker can claim one: a Monitor never hears of more than it sent.
        """
        exposed = self.exposed(committed)
        self.durable((name, min(committed[name], handed)) for name, handed in exposed.items())

    def exposed(self, names: Iterable[Identity]) -> dict[Identity, int]:
        """Return the highest revision handed over from memory, of those cells that were."""
        held = ((name, self._cells.get(name)) for name in names)
        return {name: cell.exposed for name, cell in held if cell is not None and cell.exposed}

    def durable(self, revisions: Iterable[tuple[Identity, int]]) -> None:
        """Tell the Monitors which revisions are durable, and forget what is wholly so."""
        for identity, revision in list(revisions):
            held = self._cells.get(identity)
            if held is None:
                continue
            held.tell(identity, revision)
            if revision >= held.cell.revision:
                del self._cells[identity]
