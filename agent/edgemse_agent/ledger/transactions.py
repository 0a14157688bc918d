"""What the agent does with its ledger, a transaction each.

WAL mode with synchronous=FULL: what a method has returned from is on the disk. Nothing is published
or confirmed before that. A method raises LedgerError, having changed nothing, and nothing else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from edgemse.cells import Identity, SealedCell
from edgemse_agent.calendar import Span, Timeline
from edgemse_agent.entries import Entry
from edgemse_agent.ledger.opened import OpenLedger, timeline_columns
from edgemse_agent.ledger.owed import EXPOSE
from edgemse_agent.ledger.rows import (
    Changes,
    Defect,
    Held,
    Parked,
    Refused,
    Written,
    cell_of,
    entry_of,
    key_of,
    made,
    packed_entry,
    printable,
    session_row,
    written_row,
)
from edgemse_agent.ledger.schema import COLUMNS, WAITING, inserted, stamped
from edgemse_agent.ledger.unplaced import UNPLACED, move_cells, read_spans, write_spans

__all__ = ["SESSIONS_MAX", "Ledger"]

SESSIONS_MAX = 1_000
"""Sessions remembered; past that the one least lately used is forgotten."""
DEFECTS_MAX = 1_000

_SET_NEWER = stamped(
    revision="excluded.revision",
    final="excluded.final",
    state="excluded.state",
    coverage="excluded.coverage",
    exposed="max(exposed, excluded.exposed)",
    code="NULL",
    reason="NULL",
)
_INSERT = (
    f"INSERT {inserted('cells')} ON CONFLICT DO UPDATE SET {_SET_NEWER}"
    " WHERE excluded.revision > revision"
)
_INSERT_ENTRY = (
    "INSERT INTO entries (id, entry, crc) VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET entry = excluded.entry, crc = excluded.crc"
)
_NAMED = "producer = ?2 AND sequence = ?3"
_PARK = (
    f"UPDATE cells SET {stamped(code='?4', reason='?5')}"  # noqa: S608 - constants
    f" WHERE {_NAMED} AND revision = ?1 AND (exposed >= revision OR ?6)"
)


class Ledger(OpenLedger):
    """What the agent does with its ledger; see OpenLedger for how it is opened."""

    def commit(
        self,
        cells: Iterable[Written] = (),
        ids: Changes | None = None,
        sessions: Mapping[str, int] = {},
        *,
        elapsed_seconds: float | None = None,
        absorbed: Iterable[Identity] = (),
        timeline: Timeline | None = None,
        left: Iterable[Span] = (),
    ) -> list[Defect]:
        """Write revisions, what changed of the ids, and line counts together.

        A revision that is not newer than the one held changes nothing. `absorbed` cells leave in
        the same transaction: their samples are in one of `cells`. Returns what no ledger could
        write, or read again: it is set aside in the same transaction, so that the rest is written.
        `timeline` is what the time is now, `left` spans of earlier boots that did not know it.
        """
        elapsed = self.elapsed_seconds if elapsed_seconds is None else float(elapsed_seconds)
        defects: list[Defect] = []
        rows = made("cell", cells, lambda w: w.cell.identity, written_row, defects)
        lines = made(
            "session", sessions.items(), key_of, lambda s: session_row(s, elapsed), defects
        )
        with self._transaction(elapsed=elapsed, **timeline_columns(timeline)) as transaction:
            transaction.executemany(
                "DELETE FROM cells WHERE producer = ? AND sequence = ?", absorbed
            )
            transaction.executemany(_INSERT, rows)
            write_spans(transaction, left)
            if ids is not None:
                _write_ids(transaction, ids)
                made("id", ids.unwritable().items(), key_of, packed_entry, defects)
            transaction.executemany(f"INSERT OR REPLACE {inserted('sessions')}", lines)
            if sessions:
                transaction.execute(
                    "DELETE FROM sessions WHERE session IN (SELECT session FROM sessions"
                    " ORDER BY touched DESC LIMIT -1 OFFSET ?)",
                    (SESSIONS_MAX,),
                )
            if defects:
                transaction.executemany(
                    "INSERT OR REPLACE INTO defects VALUES (?, ?, ?, ?)", defects[:DEFECTS_MAX]
                )
        return defects

    def defects(self) -> list[Defect]:
        """Return what could not be written, for people to look at."""
        return [Defect(*row) for row in self._rows("SELECT * FROM defects")]

    def close_left_open(self) -> int:
        """Make every own cell that earlier runs left open final as it stands; return how many."""
        with self._transaction() as transaction:
            return transaction.execute(
                f"UPDATE cells SET {stamped(revision='revision + 1', final='1')}"  # noqa: S608
                " WHERE NOT final AND NOT relayed"
            ).rowcount

    def due(self, limit: int) -> list[Held]:
        """Return cells that the collector has not committed, those once exposed first.

        Then the newest and the oldest windows in turn: after an outage the present is seen at once.
        """
        limit += len(self._owed.answered)
        held = self._held("ORDER BY (exposed > 0) DESC, start LIMIT ?", limit)
        again = [each for each in held if each.exposed]
        oldest = held[len(again) :]
        newest = oldest[::-1]
        if len(held) == limit and oldest:  # there may be newer ones
            newest = self._held("AND (exposed > 0) = 0 ORDER BY start DESC LIMIT ?", len(oldest))
        lanes = chain.from_iterable(zip(newest, oldest, strict=False))
        fresh = {each.cell.identity: each for each in lanes}
        waiting = [e for e in again if e.cell.identity not in self._owed.answered]
        return [*waiting, *fresh.values()][: limit - len(self._owed.answered)]

    def _held(self, how: str, limit: int) -> list[Held]:
        rows = self._rows(
            f"SELECT {COLUMNS}, exposed, acked FROM cells"  # noqa: S608 - constants
            f" WHERE {WAITING} AND NOT {UNPLACED} {how}",
            (limit,),
        )
        acked = self._owed.acked
        cells = ((cell_of(row[:-2]), row[-2], row[-1]) for row in rows)
        return [Held(c, exposed, max(a, acked.get(c.identity, 0))) for c, exposed, a in cells]

    def fresh(self) -> tuple[int, int]:
        """Return how many own cells wait that were never exposed: final ones, and all."""
        ((final, every),) = self._rows(
            "SELECT coalesce(sum(final), 0), count(*) FROM cells"  # noqa: S608 - constants
            f" WHERE {WAITING} AND (exposed > 0) = 0 AND NOT relayed"
        )
        return int(final), int(every)

    def spans(self) -> list[Span]:
        """Return the times that were on no calendar, and where they belong, once that is known."""
        with self._reading() as database:
            return read_spans(database)

    def unplaced(self) -> int:
        """Return how many cells have no place on the calendar yet."""
        ((count,),) = self._rows(f"SELECT count(*) FROM cells WHERE {UNPLACED}")  # noqa: S608
        return int(count)

    def place(self, spans: Sequence[Span], timeline: Timeline) -> tuple[int, int]:
        """Put every cell on the calendar, and remember how.

        Return how many cells there were, and how many of them are of boots that ended before the
        time was known.
        """
        with self._transaction(**timeline_columns(timeline)) as transaction:
            write_spans(transaction, spans)
            return move_cells(transaction, spans) if spans else (0, 0)

    def expose(self, revisions: Mapping[Identity, int]) -> None:
        """Mark revisions as perhaps handed to the broker, before they are."""
        with self._transaction() as transaction:
            transaction.executemany(EXPOSE, [(r, *name) for name, r in revisions.items()])

    def acked(
        self, committed: Mapping[Identity, int], handed_over: Mapping[Identity, int] = {}
    ) -> int:
        """Take what the collector holds; a final cell (a relayed one, any) is then forgotten.

        Counted is at most the revision that was handed over, from here or, as `handed_over` says,
        from memory. The next transaction writes it down. Returns of how many own cells the ack says
        more than that, which only a forged one does.
        """
        with self._reading() as database:
            return sum(
                self._owed.take(database, name, revision, handed_over.get(name, 0))
                for name, revision in committed.items()
            )

    def park(self, refused: Mapping[Identity, Refused], *, unsent: bool = False) -> int:
        """Set refused revisions aside with the reason; return how many of them were held.

        Only a revision that was handed over can have been refused, unless it is `unsent`.
        """
        with self._transaction() as transaction:
            return transaction.executemany(
                _PARK,
                [
                    (r.revision, *name, r.code, printable(r.reason), unsent)
                    for name, r in refused.items()
                ],
            ).rowcount

    def let_go_parked(self, keep: int) -> int:
        """Forget the parked cells of the oldest windows past so many; return how many."""
        with self._transaction() as transaction:
            return transaction.execute(
                "DELETE FROM cells WHERE (producer, sequence) IN (SELECT producer, sequence"
                " FROM cells WHERE code IS NOT NULL ORDER BY start LIMIT max(0, ?))",
                (self.parked_now - keep,),
            ).rowcount

    def parked(self, limit: int) -> list[Parked]:
        """Return the refused cells, oldest window first."""
        rows = self._rows(
            f"SELECT {COLUMNS}, code, reason FROM cells WHERE code IS NOT NULL"  # noqa: S608
            " ORDER BY start LIMIT ?",
            (limit,),
        )
        return [Parked(cell_of(row[:-2]), row[-2], row[-1]) for row in rows]

    def release(self) -> int:
        """Make all parked cells due again; return how many."""
        with self._transaction() as transaction:
            return transaction.execute(
                f"UPDATE cells SET {stamped(code='NULL', reason='NULL')}"  # noqa: S608 - constants
                " WHERE code IS NOT NULL"
            ).rowcount

    def coarsenable(self, narrower_than: int, limit: int) -> list[SealedCell]:
        """Return the oldest own final cells, never exposed, of windows narrower than that."""
        rows = self._rows(
            f"SELECT {COLUMNS} FROM cells WHERE {WAITING}"  # noqa: S608 - constants
            " AND (exposed > 0) = 0 AND final AND NOT relayed AND width < ?"
            " ORDER BY start LIMIT ?",
            (narrower_than, limit),
        )
        return [cell_of(row) for row in rows]

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield the predictions and labels that wait, by id: all at once they take much memory."""
        with self._reading() as database:
            for key, entry in database.execute("SELECT id, entry FROM entries"):
                yield key, entry_of(entry)

    def sessions(self) -> dict[str, int]:
        """Return how many lines of each session are committed."""
        return dict(self._rows("SELECT session, lines FROM sessions"))


def _write_ids(transaction: sqlite3.Connection, ids: Changes) -> None:
    """Write what changed of the ids, and how many there are then."""
    gone = transaction.executemany("DELETE FROM entries WHERE id = ?", ids.gone()).rowcount
    transaction.executemany(_INSERT_ENTRY, ids.rows(stored=True))
    new = transaction.executemany(_INSERT_ENTRY, ids.rows(stored=False)).rowcount
    transaction.execute("UPDATE meta SET entries = entries + ?", (max(0, new) - max(0, gone),))
