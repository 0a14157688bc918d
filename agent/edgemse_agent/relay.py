"""Monitors' cells on their way through: passed on as they came, never merged.

While the collector answers they stay in memory and never touch the SD card; what is not
acknowledged in time goes to the ledger. Either way the Monitor hears when a revision is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from edgemse.cells import Identity, SealedCell, newest
from edgemse_agent.pace import Pace

__all__ = ["Relay", "Relayed"]

Tell = Callable[[Identity, int], None]
"""Called with an identity and the revision of it that is durable now."""


class Relayed:
    """One cell in memory. `since` is when its oldest revision that is not durable came.

    `exposed` is the highest revision that may have been handed to the broker, `acked` the highest
    that the collector has; 0 if none.
    """

    __slots__ = ("acked", "began", "cell", "exposed", "since", "since_exposed", "tell")

    def __init__(self, cell: SealedCell, since: float, tell: Tell, began: int) -> None:
        self.cell, self.since, self.tell, self.began = cell, since, tell, began
        self.exposed = self.acked = 0
        self.since_exposed: float | None = None
        """When the first revision after the exposed one came; None while there is none."""

    def expose(self) -> None:
        """Take the revision as handed to the broker, before it is."""
        self.exposed, self.since_exposed = self.cell.revision, None

    def is_due(self, now: float, pace: Pace) -> bool:
        """Tell whether it goes to the broker now.

        A final cell at once; a growing one when its oldest sample nears its age, so that a window
        goes out as few times as may be; and what was handed over and not acknowledged, again.
        """
        if self.cell.final or self.exposed > self.acked:
            return True
        return now - self.since >= pace.publish_seconds


class Relay:
    """The cells of Monitors that are not durable yet.

    From half of `cells_max` on they go to the ledger, if that has room; at `cells_max` Monitors
    have to keep further ones.
    """

    def __init__(self, pace: Pace, *, cells_max: int = 20_000) -> None:
        self.pace, self._cells_max = pace, cells_max
        self._cells: dict[Identity, Relayed] = {}

    def __len__(self) -> int:
        return len(self._cells)

    def take(self, cell: SealedCell, now: float, tell: Tell, began: int = 0) -> bool:
        """Take a revision and the Monitor's ear; False if it is not newer than the one held.

        `began` numbers connections in the order in which they were made: what is read late of one
        that is broken does not take the ear from the one after it. Whoever calls has asked
        `has_room`.
        """
        held = self._cells.get(cell.identity)
        if held is None:
            self._cells[cell.identity] = Relayed(cell, now, tell, began)
            return True
        if began >= held.began:
            held.tell, held.began = tell, began
        if not newest(held.cell.revision, cell.revision):
            return False
        held.cell = cell  # `since` stays: the oldest sample's clock is running
        if held.exposed and held.since_exposed is None:
            held.since_exposed = now
        return True

    def has_room(self, identity: Identity) -> bool:
        """Whether a cell can be taken: there is room, or an earlier revision is here."""
        return len(self._cells) < self._cells_max or identity in self._cells

    @property
    def crowded(self) -> bool:
        """Whether the cells are too many for memory."""
        return len(self._cells) > self._cells_max // 2

    def hurry(self, producer: bytes, now: float, *, online: bool) -> None:
        """Let a Monitor's cells go at once: it waits for them.

        To the ledger too, unless a collector is there that may acknowledge them.
        """
        age = self.pace.hurried_seconds if online else self.pace.commit_seconds
        for held in self._cells.values():
            if held.cell.identity.producer == producer:
                held.since = min(held.since, now - age)

    def due(self, now: float) -> list[Relayed]:
        """Return the cells that go to the broker now, those once exposed first."""
        found = [
            held
            for held in self._cells.values()
            if held.is_due(now, self.pace) and not held.cell.window.unplaced
        ]
        return sorted(found, key=lambda relayed: not relayed.exposed)

    def place(self, place: Callable[[float], float]) -> None:
        """Put the cells that have no place on the calendar yet there, by what leads to it."""
        for held in self._cells.values():
            if held.cell.window.unplaced:
                held.cell = held.cell._replace(window=held.cell.window.placed(place))

    @property
    def unplaced(self) -> int:
        """How many cells have no place on the calendar yet."""
        return sum(held.cell.window.unplaced for held in self._cells.values())

    def named(self, names: Iterable[Identity]) -> list[Relayed]:
        """Return those of these cells that are in memory."""
        return [held for name in names if (held := self._cells.get(name)) is not None]

    def revision(self, name: Identity) -> int:
        """Return the revision in memory, 0 if the cell is not there."""
        held = self._cells.get(name)
        return 0 if held is None else held.cell.revision

    def overdue(self, now: float) -> list[Relayed]:
        """Return what must go to the ledger now: too long in memory, or too many."""
        if self.crowded:
            return list(self._cells.values())
        return [r for r in self._cells.values() if now - r.since >= self.pace.commit_seconds]

    def everything(self) -> list[Relayed]:
        """Return all cells in memory, for the last commit."""
        return list(self._cells.values())

    def acked(self, committed: Mapping[Identity, int]) -> None:
        """Take what the collector holds; of each cell it counts up to what was handed over.

        The store may hold a later revision than this agent ever did (a crash in between), and
        whoever can write to the broker can claim one: a Monitor never hears of more than it sent.
        The clock goes on from the first revision after the acknowledged one.
        """
        for name, handed_over in self.exposed(committed).items():
            held = self._cells[name]
            revision = min(committed[name], handed_over)
            held.acked = max(held.acked, revision)
            if revision == held.exposed and held.since_exposed is not None:
                held.since = held.since_exposed
            self.durable([(name, revision)])

    def exposed(self, names: Iterable[Identity]) -> dict[Identity, int]:
        """Return the highest revision handed over from memory, of those cells that were."""
        return {held.cell.identity: held.exposed for held in self.named(names) if held.exposed}

    def durable(self, revisions: Iterable[tuple[Identity, int]]) -> None:
        """Tell the Monitors which revisions are durable, and forget what is wholly so."""
        for identity, revision in list(revisions):
            held = self._cells.get(identity)
            if held is None:
                continue
            held.tell(identity, revision)
            if revision >= held.cell.revision:
                del self._cells[identity]
