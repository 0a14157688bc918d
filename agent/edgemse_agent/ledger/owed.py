"""What the collector has acknowledged and the ledger does not know yet.

An ack alone is not worth a synced write: without it the cell would be sent again, and acknowledged
again. So it waits in memory for the next transaction, whichever that is.
"""

from __future__ import annotations

import sqlite3

from edgemse.cells import Identity
from edgemse_agent.ledger.schema import stamped

__all__ = ["EXPOSE", "Owed"]

_NAMED = "producer = ?2 AND sequence = ?3"
EXPOSE = f"UPDATE cells SET {stamped(exposed='max(exposed, ?1)')} WHERE {_NAMED}"  # noqa: S608
_ACKED = stamped(acked="max(acked, min(?1, exposed))")
_ACK = f"UPDATE cells SET {_ACKED} WHERE {_NAMED}"  # noqa: S608 - constants
_FORGET = (
    "DELETE FROM cells WHERE producer = ? AND sequence = ?"
    " AND acked >= revision AND (final OR relayed)"
)
_LOOK_UP = (
    "SELECT revision, relayed, exposed, acked, code IS NULL FROM cells"
    " WHERE producer = ? AND sequence = ?"
)


class Owed:
    """Acknowledged revisions of cells that are in the ledger, until a transaction writes them."""

    def __init__(self) -> None:
        self.acked: dict[Identity, int] = {}
        self.answered: set[Identity] = set()
        """Cells that waited, and do not any more."""
        self._handed_over: dict[Identity, int] = {}

    def take(
        self, database: sqlite3.Connection, name: Identity, revision: int, handed_over: int
    ) -> bool:
        """Take the ack of a cell, if the ledger has it; True if it says more than was handed over.

        Of a Monitor's cell it may: the store can hold a later revision than the ledger, after a
        crash. `handed_over` is the revision that was from memory, 0 if none.
        """
        row = database.execute(_LOOK_UP, name).fetchone()
        if row is None:
            return False
        held, relayed, exposed, acked, may_wait = row
        exposed = max(exposed, handed_over)
        counted = min(revision, exposed)
        if counted > max(acked, self.acked.get(name, 0)):
            self.acked[name] = counted
            if handed_over:
                self._handed_over[name] = handed_over
            if may_wait and acked < held <= counted:
                self.answered.add(name)
        return not relayed and exposed < revision

    def write(self, transaction: sqlite3.Connection) -> None:
        """Write it down; a final cell (a relayed one, any) is then forgotten."""
        if self.acked:
            transaction.executemany(EXPOSE, [(r, *name) for name, r in self._handed_over.items()])
            transaction.executemany(_ACK, [(r, *name) for name, r in self.acked.items()])
            transaction.executemany(_FORGET, list(self.acked))
